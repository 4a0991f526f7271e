"""Every table of a source is recognized, and damage is told by the source's name of the array."""

import functools

import numpy as np
import pytest

from cnn_jax.errors import UserError
from cnn_jax.interop import recognize, translate

# Of each family and source, the smallest network that its table is for.
OPTIONS = {
    "resnet": {"depth": 18, "groups": 1},
    "cifar_resnet": {"depth": 20},
    "wide_resnet": {"depth": 10, "width": 2},
    "vgg": {"depth": 16, "fc_width": 32},
    "alexnet": {"variant": "caffe", "fc_width": 32},
    "inception_v3": {"auxiliary": "none"},
    "googlenet": {"auxiliary": False},
}
COUNTED = ("Flax example", "jax-resnet")  # whose blocks have numbers over all stages
BOTTLENECKS = ("Keras", "Keras 2.2", "Caffe", "Caffe2", "szagoruyko")
LAYOUTS = {
    f"{layout.source} {layout.family} {layout.options.get('depth', '')}"
    f"{layout.options.get('version', '')} {len(layout.names)}": layout
    for layout in recognize.layouts()
}


def options_of(layout):
    """The options of a network that the table is for."""
    options = dict(OPTIONS.get(layout.family, {}))
    if layout.family == "resnet" and layout.source in BOTTLENECKS:
        options["depth"] = 50
    if layout.family == "resnet" and layout.source in COUNTED:
        options["depth"] = {51: 18}.get(len(layout.names), 50)
    if layout.source == "kuangliu":
        options["small_input"] = True
    if layout.source == "akamaster":
        options["shortcut"] = "B"
    return options | dict(layout.options)


@functools.cache
def state_of(name):
    """Arrays without content by the source's names, in the order of the network."""
    layout = LAYOUTS[name]
    options = tuple(sorted(options_of(layout).items()))
    side = translate.SIZES.get(layout.family, 224)
    shapes = translate.expected_shapes(layout.family, 7, options, (side, side, 3))
    if layout.source == "szagoruyko" and layout.family == "resnet":  # norms in its convolutions
        biases = {
            (*path[:-1], "bias"): s[-1:] for path, s in shapes.items() if path[-1] == "kernel"
        }
        shapes = {path: s for path, s in shapes.items() if path[-1] == "kernel"} | biases
    return {
        layout.theirs(path): np.broadcast_to(np.float32(0), layout.shape(shape))
        for path, shape in shapes.items()
    }


def is_example(layout):
    """Whether a small network has just the names of the table; of the others one is enough."""
    small = options_of(layout)
    known = layout.source not in COUNTED or len(layout.names) in (51, 131)
    return known and small.get("depth") in (None, 10, 16, 18, 20, 50)


NAMES = [name for name, layout in LAYOUTS.items() if is_example(layout)]


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    """The tests of one table follow each other: its network is traced once."""
    return request.param


def refused(state, *words):
    """The message about a state that no table fits: one line with these words."""
    with pytest.raises(UserError) as caught:
        recognize.trained(state)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1000
    for word in words:
        assert word in message, message
    return message


def test_the_network_of_a_table_is_recognized(name):
    layout = LAYOUTS[name]
    found = recognize.trained(state_of(name), hints=(layout.source,))
    assert (found.source, found.model["name"]) == (layout.source, layout.family)
    assert found.model["num_classes"] == 7
    given = options_of(layout) | dict(layout.options)
    assert found.model.get("depth", given.get("depth")) == given.get("depth")


def test_an_array_that_is_missing_or_has_another_shape_is_named(name):
    state = state_of(name)
    kernels = [key for key in state if state[key].ndim > 1]
    for key in kernels[1:-1:20]:
        refused({k: v for k, v in state.items() if k != key}, key)
        wrong = np.broadcast_to(np.float32(0), (*state[key].shape[:-1], 13))
        refused(state | {key: wrong}, key)
    one = kernels[2]
    others = [k for k in kernels[3:-1] if state[k].ndim == 4 and state[k].shape != state[one].shape]
    refused(state | {one: state[others[-1]], others[-1]: state[one]}, one)


def test_weights_of_no_known_network_are_told_with_the_nearest():
    near = state_of(next(name for name in NAMES if name.startswith("torchvision resnet")))
    message = refused(near | {"layer1.0.gate.weight": np.zeros(3)}, "layer1.0.gate.weight")
    assert "nearest are torchvision's resnet" in message
    refused({"a.b": np.zeros(3)}, "a.b", "of no known source: torchvision, timm")


@pytest.mark.parametrize(
    "key, network",
    [
        ("resnet/root_block/standardized_conv2d/kernel", "BiT"),
        ("conv2_block1_preact_bn/gamma", "Keras's ResNet V2"),
        ("conv1.0.weight", "ResNet-D"),
        ("layer1.0.se.fc1.weight", "SE-ResNet"),
    ],
)
def test_networks_that_are_taken_for_ours_are_named(key, network):
    refused({key: np.zeros(3)}, network)
