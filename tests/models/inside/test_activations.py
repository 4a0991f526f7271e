"""Activations have the names of layers, of every block its own, and are what the layers gave."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.inside import activations
from cnn_jax.models.residual_units import Stage

IMAGES = np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(np.float32)


class Block(nn.Module):
    stride: int

    @nn.compact
    def __call__(self, x, train):
        return x + nn.relu(nn.Dense(3, name="linear")(x))


class Deep(nn.Module):
    """A stage of nine blocks, which is a scan, and a classifier."""

    unroll: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, images, train=False):
        x = Stage(Block, 9, 1, self.unroll, remat=self.remat, name="conv2")(images, train)
        return nn.Dense(5, name="fc")(x.mean((1, 2)))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "remat"])
def deep(request):
    """The network, its variables, and all activations of the two images."""
    model = Deep(remat=request.param)
    shapes, random = eval_shape(model.init, jax.random.key(0), IMAGES), np.random.default_rng(1)
    variables = jax.tree.map(lambda a: random.standard_normal(a.shape, np.float32) / 2, shapes)
    flat = activations.each_block(model, variables)
    wanted = activations.shapes(flat[0], IMAGES.shape[1:])
    return model, variables, *jax.jit(lambda x: activations.apply(*flat, x, wanted))(IMAGES)


def test_a_scanned_stage_gives_each_of_its_blocks_under_its_own_name(deep):
    _, variables, _, found = deep
    stacked, x = variables["params"]["conv2"]["blocks"]["linear"], found["conv2/block1"]
    for i in range(8):
        y = x @ stacked["kernel"][i] + stacked["bias"][i]
        np.testing.assert_allclose(found[f"conv2/block{i + 2}/linear"], y, 1e-4, 1e-4)
        x = x + np.maximum(y, 0)
        np.testing.assert_allclose(found[f"conv2/block{i + 2}"], x, 1e-4, 1e-4)
    np.testing.assert_array_equal(found["conv2"], found["conv2/block9"])


def test_the_logits_are_those_of_the_network(deep):
    model, variables, logits, found = deep
    np.testing.assert_allclose(logits, model.apply(variables, IMAGES), 1e-4, 1e-4)
    np.testing.assert_array_equal(found["fc"], logits)


def test_after_a_relu_nothing_is_negative_and_the_rest_is_the_same(deep):
    found = deep[-1]
    before = found["conv2/block3/linear"]
    np.testing.assert_array_equal(found["conv2/block3/linear/relu"], np.maximum(before, 0))
    assert (before < 0).any()


def test_the_embedding_is_what_the_classifier_sees(deep):
    _, variables, logits, found = deep
    last = variables["params"]["fc"]
    np.testing.assert_allclose(
        found["embedding"] @ last["kernel"] + last["bias"], logits, 1e-4, 1e-4
    )


class Pointwise(nn.Module):
    """A classifier that is a convolution, as in SqueezeNet."""

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Conv(5, (1, 1), name="conv10")(images).mean((1, 2))


def test_the_embedding_of_a_classifying_convolution_is_the_mean_of_its_map():
    own = {"kernel": np.ones((1, 1, 3, 5), np.float32), "bias": np.ones(5, np.float32)}
    variables = {"params": {"conv10": own}}
    _, found = activations.apply(Pointwise(), variables, IMAGES, ["embedding"])
    np.testing.assert_allclose(found["embedding"], IMAGES.mean((1, 2)), atol=1e-6)


# Of each family: options, the side of an image, the size of the embedding, and the last maps.
FAMILIES = {
    "alexnet": ({"fc_width": 8}, 39, 8, "conv5/relu"),
    "bn_inception": ({}, 32, 1024, "inception_5b"),
    "cifar_resnet": ({"depth": 8}, 8, 64, "conv4"),
    "googlenet": ({"auxiliary": False}, 32, 1024, "inception_5b"),
    "inception_v3": ({"auxiliary": "none"}, 75, 2048, "Mixed_7c"),
    "lenet": ({}, 28, 500, "conv2"),
    "resnet": ({"depth": 18, "width": 0.5}, 32, 256, "conv5"),
    "squeezenet": ({}, 32, 512, "fire9"),
    "vgg": ({"depth": 11, "fc_width": 8}, 32, 8, "conv5_2/relu"),
    "wide_resnet": ({"depth": 10, "width": 1}, 8, 64, "bn/relu"),
}
assert sorted(FAMILIES) == models.names()


# To trace: they have many layers.
SLOW = ("bn_inception", "googlenet", "inception_v3", "resnet", "squeezenet")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in FAMILIES]
)
def test_every_family_has_an_embedding_before_its_classifier_and_last_maps(name):
    options, side, size, last = FAMILIES[name]
    model = models.create(name, num_classes=3, **options)
    known = activations.shapes(model, (side, side, 3))
    assert known["embedding"] == (size,)
    after = list(known)[list(known).index("embedding") + 1 :]
    assert [name for name in after if not name.endswith("/relu")] == [after[0]]
    assert known[after[0]][-1] == 3
    assert activations.last_map(known) == last


KNOWN = ("conv1", "conv1/relu", "conv2", "conv2/block1", "fc")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["fc", "conv1"], ("conv1", "fc")),
        (["conv2*"], ("conv2", "conv2/block1")),
        (["conv*", "!*/*"], ("conv1", "conv2")),
        (["!conv*"], ("fc",)),
        ("*/relu", ("conv1/relu",)),
    ],
)
def test_patterns_choose_layers_in_the_order_of_the_network(patterns, expected):
    assert activations.chosen(KNOWN, patterns) == expected


def test_a_layer_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"no layer 'cov1'; the nearest are conv1, "):
        activations.chosen(KNOWN, ["fc", "cov1"])


def test_patterns_that_leave_no_layer_are_refused():
    with pytest.raises(UserError, match="no layer is left"):
        activations.chosen(KNOWN, ["fc", "!fc"])


def test_where_one_layer_is_meant_several_are_refused():
    assert activations.one(KNOWN, "f*") == "fc"
    with pytest.raises(UserError, match=r"'conv2\*' names 2 layers, conv2 the first: name one"):
        activations.one(KNOWN, "conv2*")


def test_a_network_without_maps_has_no_last_ones():
    with pytest.raises(UserError, match="has no maps"):
        activations.last_map({"ip1": (300,), "embedding": (300,), "ip2": (3,)})
