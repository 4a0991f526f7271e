"""PyTorch's networks to compare with, random weights and all."""

import pytest


@pytest.fixture(scope="session")
def torch():
    """PyTorch, and torchvision ready to be imported."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(2)
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        # A torchvision without its compiled operators, as beside a CPU-only PyTorch: its networks
        # need none of them, so their names are enough to import it.
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool"):
            library.define(f"{name}(Tensor x) -> Tensor")
        for name in ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d"):
            library.define(f"_{name}_backward(Tensor x) -> Tensor")
        library.define("deform_conv2d(Tensor x) -> Tensor")
        torch._torchvision_operators = library  # they live as long as the library does
        pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))
    return torch


@pytest.fixture(scope="session")
def network(torch):
    """`network(name)`: torchvision's network with random weights, and statistics where `random`."""

    def make(name, classes=7, random=True):
        from torchvision import models

        torch.manual_seed(0)
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        made = models.get_model(name, weights=None, num_classes=classes, **options)
        for part in made.modules() if random else ():
            if isinstance(part, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(part.weight, 0.5, 1.5)
                torch.nn.init.normal_(part.bias, 0, 0.2)
                torch.nn.init.normal_(part.running_mean, 0, 0.2)
                torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
            elif getattr(part, "bias", None) is not None:
                torch.nn.init.normal_(part.bias, 0, 0.1)
        return made

    return make


@pytest.fixture(scope="session")
def arrays():
    """A state dict as NumPy arrays that share nothing with the network."""
    return lambda made: {key: value.numpy().copy() for key, value in made.state_dict().items()}
