"""PyTorch's networks to compare with, random weights and all."""

import os

import pytest

from cnn_jax.errors import UserError
from cnn_jax.interop import reference


@pytest.fixture(scope="session")
def torch():
    """PyTorch, and torchvision ready to be imported."""
    torch = pytest.importorskip("torch")
    if "PYTEST_XDIST_WORKER" in os.environ:  # another worker has the other core
        torch.set_num_threads(1)
    try:
        reference.torchvision()
    except UserError as error:
        pytest.skip(str(error))
    return torch


@pytest.fixture(scope="session")
def hollow(torch):
    """`hollow(name)`: torchvision's network without weights, which it would draw for long.

    `fc_width` narrows the hidden layers of AlexNet and VGG, which have most of their weights.
    """

    def make(name, classes=7, fc_width=None):
        with torch.device("meta"):
            made = reference.network(name, classes)
            if fc_width:
                first, second, last = (m for m in made.classifier if isinstance(m, torch.nn.Linear))
                first.__init__(first.in_features, fc_width)
                second.__init__(fc_width, fc_width)
                last.__init__(fc_width, classes)
        return made

    return make


@pytest.fixture(scope="session")
def network(torch, hollow):
    """`network(name)`: the same with random weights, biases and statistics."""

    def make(name, classes=7, fc_width=None):
        made = hollow(name, classes, fc_width).to_empty(device="cpu")
        torch.manual_seed(0)
        for part in made.modules():
            fill(part)
        return made

    def fill(part):
        init = torch.nn.init
        if isinstance(part, torch.nn.BatchNorm2d):
            init.uniform_(part.weight, 0.5, 1.5)
            init.normal_(part.bias, 0, 0.2)
            init.normal_(part.running_mean, 0, 0.2)
            init.uniform_(part.running_var, 0.5, 1.5)
            init.zeros_(part.num_batches_tracked)
        elif isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            init.kaiming_uniform_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                init.normal_(part.bias, 0, 0.1)

    return make


@pytest.fixture(scope="session")
def arrays():
    """A state dict as NumPy arrays that share nothing with the network."""
    return lambda made: {key: value.numpy().copy() for key, value in made.state_dict().items()}
