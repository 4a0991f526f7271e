"""PyTorch's networks to compare with, random weights and all."""

import pytest

from cnn_jax.errors import UserError
from cnn_jax.interop import reference


@pytest.fixture(scope="session")
def torch():
    """PyTorch, and torchvision ready to be imported."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(2)
    try:
        reference.torchvision()
    except UserError as error:
        pytest.skip(str(error))
    return torch


@pytest.fixture(scope="session")
def network(torch):
    """`network(name)`: torchvision's network with random weights, and statistics where `random`."""

    def make(name, classes=7, random=True):
        torch.manual_seed(0)
        made = reference.network(name, classes)
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
