"""torchvision's networks for comparisons; its compiled operators may be missing."""

from types import ModuleType
from typing import Any

from cnn_jax.errors import UserError, first_line

# Operators for detection. Networks for classification do not use them, but the import needs their
# names.
OPERATORS = ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool")
BACKWARD = ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")


def torchvision() -> ModuleType:
    """Imports the package; raises `UserError` if it or PyTorch is missing or cannot be loaded."""
    try:
        import torch

        try:
            import torchvision
        except RuntimeError:  # a CPU-only PyTorch lacks its operators
            library = torch.library.Library("torchvision", "DEF")
            for name in OPERATORS:
                library.define(f"{name}(Tensor x) -> Tensor")
            for name in BACKWARD:
                library.define(f"_{name}_backward(Tensor x) -> Tensor")
            library.define("deform_conv2d(Tensor x) -> Tensor")
            torch._torchvision_operators = library  # the names live as long as this object
            import torchvision
    except (ImportError, RuntimeError) as error:
        raise UserError(
            "the comparison needs PyTorch and torchvision: pip install torch torchvision "
            f"({first_line(error)})"
        ) from None
    return torchvision


def network(name: str, classes: int) -> Any:
    """torchvision's untrained network of this name."""
    # The initialization of these two takes minutes, since SciPy draws each weight.
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision().models.get_model(name, weights=None, num_classes=classes, **options)
