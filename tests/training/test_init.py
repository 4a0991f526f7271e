"""Training may start from layers of a trained network, as VGG's deeper networks from an A."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import cnn_jax
from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.interop import torchvision
from cnn_jax.training import build
from cnn_jax.training.steps import TrainState
from tests.conftest import ROOT

VGG = str(ROOT / "experiments/vgg/imagenet.py")
OF_A = {"conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"}


def filled(value, **options):
    """The parameters of a narrow VGG, all of one value."""
    model = models.create("vgg", num_classes=10, fc_width=64, **options)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 32, 32, 3)))["params"]
    return jax.tree.map(lambda leaf: np.full(leaf.shape, value, leaf.dtype), shapes)


def first_state(with_average=False, depth=16):
    """A state of configuration D, or of another depth, all zeros."""
    params = jax.device_put(filled(0.0, depth=depth))
    ema = {"params": params, "batch_stats": {}} if with_average else {}
    return TrainState(np.uint32(0), np.int32(0), params, {}, (), ema)


@pytest.fixture(scope="module")
def trained_a(tmp_path_factory):
    """A file with the weights of a network A, all ones."""
    file = tmp_path_factory.mktemp("weights") / "A.npz"
    np.savez(file, **flatten_dict({"params": filled(1.0, depth=11)}, sep="/"))
    return file


def loader(weights, *overrides):
    """What a recipe puts into its first state."""
    config = cnn_jax.load_config(f"{VGG}:D,from_A,smoke", [f"init.weights={weights}", *overrides])
    return build.create_parts(config).load_start


def layers_of(params, value):
    leaves = flatten_dict(params, sep="/").items()
    return {path.rpartition("/")[0] for path, leaf in leaves if (np.asarray(leaf) == value).all()}


@pytest.mark.parametrize("with_average", [False, True])
def test_exactly_the_papers_layers_of_vgg_are_those_of_a_at_step_0(trained_a, with_average):
    before = first_state(with_average)
    state = loader(trained_a)(before)
    assert jax.tree.structure(state) == jax.tree.structure(before)
    for params in [state.params, *([state.ema["params"]] if with_average else [])]:
        assert layers_of(params, 1.0) == OF_A
        assert layers_of(params, 0.0) == {*before.params} - OF_A


@pytest.mark.parametrize(
    "layers,message",
    [
        ("('conv9',)", "no layer of the network is named 'conv9'"),
        ("('conv1_2',)", "conv1_2/bias is not in it"),
        ("('conv*',)", "is not in it"),
    ],
)
def test_layers_that_are_in_one_of_the_networks_alone_are_told(trained_a, layers, message):
    with pytest.raises(UserError, match=message):
        loader(trained_a, f"init.layers={layers}")(first_state())


def test_a_recipe_that_starts_from_a_asks_which():
    with pytest.raises(UserError, match="--config.init.weights=RUN_OR_FILE"):
        build.create_parts(cnn_jax.load_config(f"{VGG}:D,from_A,smoke"))


def test_weights_of_another_network_are_refused_with_the_fields_of_theirs(tmp_path):
    image = np.zeros((1, 64, 64, 3))
    shapes = jax.eval_shape(torchvision.module("squeezenet1_0", 10).init, jax.random.key(0), image)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    np.savez(tmp_path / "w.npz", **torchvision.to_torch("squeezenet1_0", variables))
    with pytest.raises(UserError, match="another network: --config.model.name=squeezenet"):
        loader(tmp_path / "w.npz", "init.layers=('*',)")(first_state())


def test_a_config_that_starts_from_weights_and_compresses_is_refused():
    overrides = ["init.weights=RUN", "compression.start=RUN"]
    recipe = f"{ROOT}/experiments/deep_compression/lenet.py:300-100,prune"
    config = cnn_jax.load_config(recipe, [*overrides, "data.name=digits"])
    with pytest.raises(UserError, match="leave init.weights and optimizer.freeze out"):
        build.create_parts(config)


def test_a_classifier_for_other_classes_is_made_anew_and_all_else_is_taken(trained_a, tmp_path):
    file = tmp_path / "wide.npz"
    with np.load(trained_a) as arrays:
        wide = dict(arrays) | {
            "params/fc8/kernel": np.ones((64, 12)),
            "params/fc8/bias": np.ones(12),
        }
    np.savez(file, **wide)
    parts = build.create_parts(cnn_jax.load_config(f"{VGG}:A,smoke", [f"init.weights={file}"]))
    state = parts.load_start(first_state(depth=11))
    assert layers_of(state.params, 1.0) == {*state.params} - {"fc8"}
    assert parts.start_notes()[1:] == ["new, with initial values: fc8", f"left in {file}: fc8"]
