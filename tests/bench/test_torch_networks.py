"""The PyTorch networks that we are timed against compute what ours compute."""

import flax.traverse_util
import jax
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.interop import torchvision as names
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.training import compiler

torch = pytest.importorskip("torch")

from cnn_jax.bench import torch_networks  # noqa: E402  (imports torch)

KINDS = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def random_variables(model, images):
    """Untrained, but with statistics, scales and biases that are not 0 and 1."""
    shapes = eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1].key == "kernel":
            deviation = np.float32((2 / np.prod(leaf.shape[:-1])) ** 0.5)
            return deviation * rng.standard_normal(leaf.shape, np.float32)
        low = 0.5 if path[-1].key in ("scale", "var") else -0.2
        return rng.uniform(low, low + 0.5, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def copy_weights(variables, network):
    state = {}
    for (_, *layer, kind), array in flax.traverse_util.flatten_dict(variables).items():
        if kind == "kernel":
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        state[".".join([*layer, KINDS.get(kind, kind)])] = torch.from_numpy(array.copy())
    missing, unknown = network.load_state_dict(state, strict=False)
    assert not unknown and all(key.endswith("num_batches_tracked") for key in missing)


def count_of(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "options",
    [
        {"name": "cifar_resnet", "depth": 14},
        {"name": "cifar_resnet", "depth": 8, "shortcut": "B"},
        {"name": "cifar_resnet", "depth": 8, "residual": False},
        {"name": "cifar_resnet", "depth": 11, "block": "bottleneck"},
        {"name": "cifar_resnet", "depth": 8, "order": "full pre-activation"},
        {"name": "cifar_resnet", "depth": 20, "block": "bottleneck"}
        | {"order": "full pre-activation"},
        {"name": "wide_resnet", "depth": 16, "width": 1, "dropout": 0.3},
        {"name": "wide_resnet", "depth": 10, "width": 2, "block": "B(3,1,3)"},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_with_the_same_weights_the_logits_are_the_same(options):
    images = np.random.default_rng(1).standard_normal((2, 32, 32, 3), np.float32)
    model = models.create(num_classes=10, **options)
    variables = random_variables(model, images)
    network = torch_networks.create(options, 3, 10, count_of(variables["params"])).eval()
    copy_weights(variables, network)
    forward = compiler.jit(lambda v, x: model.apply(v, x, train=False), once=True)
    ours = forward(variables, images)
    with torch.no_grad():
        theirs = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("name", names.names())
def test_every_network_of_torchvision_is_found_by_its_options(name):
    options = names.options(name)
    assert torch_networks.torchvision_name(models.options(options["name"]) | options) == name


def test_the_closest_network_is_named_where_torchvision_has_none():
    with pytest.raises(UserError, match=r"for its resnet50 set --config.model.stride_in=3x3"):
        torch_networks.torchvision_name({"name": "resnet", **models.options("resnet")})


def test_a_network_that_pytorch_has_not_is_refused():
    options = {"name": "cifar_resnet", "gating": "exclusive"}
    with pytest.raises(UserError, match="no PyTorch counterpart.*model.gating='exclusive'"):
        torch_networks.create(options, 3, 10, 0)


def test_another_number_of_parameters_is_refused():
    with pytest.raises(UserError, match="272,474 parameters and ours 7"):
        torch_networks.create({"name": "cifar_resnet", "shortcut": "B"}, 3, 10, 7)
