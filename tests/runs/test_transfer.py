"""What is taken of trained weights: everything that fits, and nothing that only seems to."""

import numpy as np
import pytest

from cnn_jax.errors import UserError
from cnn_jax.optim.by_layer import Layers
from cnn_jax.runs.transfer import transfer


def variables(classes=10, channels=4, **extra):
    """Those of a network with a convolution, a batch norm and a linear layer."""
    return {
        "params": {
            "conv1": {"kernel": np.zeros((3, 3, 1, channels))},
            "bn1": {"scale": np.zeros(channels), "bias": np.zeros(channels)},
            "fc": {"kernel": np.zeros((channels, classes)), "bias": np.zeros(classes)},
            **extra,
        },
        "batch_stats": {"bn1": {"mean": np.zeros(channels), "var": np.zeros(channels)}},
    }


def taken(theirs, patterns=("*",), ours=None):
    ours = ours or variables()
    depth = dict.fromkeys(ours["params"], 0)
    return transfer(theirs, patterns, Layers(depth, frozenset({"fc"}), ours), "w.npz")


def test_everything_that_fits_is_taken_with_the_batch_statistics():
    found = taken(variables())
    assert found.taken == ("conv1", "bn1", "fc") and not found.new and not found.left
    assert set(found.variables["batch_stats"]["bn1"]) == {"mean", "var"}


def test_a_classifier_for_other_classes_is_new_and_that_is_said():
    found = taken(variables(classes=1000))
    assert (found.taken, found.new, found.left) == (("conv1", "bn1"), ("fc",), ("fc",))
    assert found.lines("w.npz") == [
        "from w.npz: 2 layers, conv1, bn1",
        "new, with initial values: fc",
        "left in w.npz: fc",
    ]


def test_layers_that_one_of_the_networks_lacks_are_new_or_left():
    found = taken(
        variables(head={"bias": np.zeros(2)}), ours=variables(conv2={"bias": np.zeros(3)})
    )
    assert (found.new, found.left) == (("conv2",), ("head",))


def test_layers_that_are_taken_away_keep_their_initial_values():
    assert taken(variables(), ("!classifier",)).new == ("fc",)
    assert taken(variables(), ("*", "!conv1")).new == ("conv1",)


@pytest.mark.parametrize(
    "theirs,patterns,told",
    [
        (variables(channels=5), ("*",), r"conv1/kernel is \[3, 3, 1, 5\] in it, and .*'!conv1'"),
        (variables(classes=9), ("fc",), r"fc/kernel is \[4, 9\] in it, and \[4, 10\] in the"),
        ({"params": {"conv1": {}}}, ("bn1",), "bn1/scale is not in it"),
        ({"params": {"a": {"b": np.zeros(1)}}}, ("*",), "has none of the network's layers conv1"),
        ({**variables(), "batch_stats": {}}, ("*",), "bn1/mean is not in it"),
    ],
)
def test_what_does_not_fit_is_told(theirs, patterns, told):
    with pytest.raises(UserError, match=told):
        taken(theirs, patterns)
