"""torchvision's networks to compare with, also where its compiled operators are missing."""

from types import ModuleType
from typing import Any

from cnn_jax.errors import UserError, first_line

# They serve detection; no network for classification needs them, but the import asks for the names.
OPERATORS = ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool")
BACKWARD = ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")


def torchvision() -> ModuleType:
    """The package; raises `UserError` where it or PyTorch is not installed or cannot be loaded."""
    try:
        import torch

        try:
            import torchvision
        except RuntimeError:  # its operators are missing, as beside a CPU-only PyTorch
            library = torch.library.Library("torchvision", "DEF")
            for name in OPERATORS:
                library.define(f"{name}(Tensor x) -> Tensor")
            for name in BACKWARD:
                library.define(f"_{name}_backward(Tensor x) -> Tensor")
            library.define("deform_conv2d(Tensor x) -> Tensor")
            torch._torchvision_operators = library  # they live as long as the library does
            import torchvision
    except (ImportError, RuntimeError) as error:
        raise UserError(
            "the comparison needs PyTorch and torchvision: pip install torch torchvision "
            f"({first_line(error)})"
        ) from None
    return torchvision


def network(name: str, classes: int) -> Any:
    """torchvision's network of that name, untrained."""
    # Without them these two draw each weight with SciPy, for minutes.
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision().models.get_model(name, weights=None, num_classes=classes, **options)
