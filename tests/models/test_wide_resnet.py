"""Wide ResNet is the network of Zagoruyko & Komodakis (2016), Table 1."""

import jax
import jax.numpy as jnp
import pytest

from cnn_jax import models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.errors import UserError
from experiments.wide_resnet import published


@pytest.mark.parametrize("depth,width", published.CIFAR_EXACT)
def test_parameters_and_multiply_adds_are_those_of_the_paper(depth, width):
    cifar10, cifar100, billions = published.CIFAR_EXACT[depth, width]
    for classes, parameters in [(10, cifar10), (100, cifar100)]:
        model = models.create("wide_resnet", num_classes=classes, depth=depth, width=width)
        rows = layers_of(model, (32, 32, 3))
        assert sum(row.parameters for row in rows) == parameters
    assert sum(row.multiply_adds for row in rows) / 1e9 == pytest.approx(billions, abs=0.0006)


def test_maps_shrink_as_in_table_1():
    rows = layers_of(models.create("wide_resnet", num_classes=10, depth=16, width=4), (32, 32, 3))
    shapes = {row.name: row.output_shape for row in rows}
    assert shapes["conv1"] == (32, 32, 16)
    assert shapes["conv2/block2/conv2"] == (32, 32, 64)
    assert shapes["conv3/block1/shortcut"] == shapes["conv3/block2/conv2"] == (16, 16, 128)
    assert shapes["conv4/block1/shortcut"] == shapes["conv4/block2/conv2"] == (8, 8, 256)


def test_width_1_has_no_shortcut_convolution_in_conv2():
    names = [
        r.name
        for r in layers_of(
            models.create("wide_resnet", num_classes=10, depth=10, width=1), (32, 32, 3)
        )
    ]
    assert "conv2/block1/shortcut" not in names and "conv3/block1/shortcut" in names


def test_the_shortcut_leaves_after_the_first_bn_and_relu_where_channels_change():
    model = models.create("wide_resnet", num_classes=10, depth=10, width=2, gamma="ones")
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    # With bn1 shut (scale 0, bias 0) nothing may come through the block, shortcut included.
    block = variables["params"]["conv2"]["block1"]
    block["bn1"]["scale"] = jnp.zeros_like(block["bn1"]["scale"])
    block["conv2"]["kernel"] = jnp.zeros_like(block["conv2"]["kernel"])
    _, seen = model.apply(
        variables, images, capture_intermediates=lambda m, _: m.path == ("conv2", "block1")
    )
    assert (seen["intermediates"]["conv2"]["block1"]["__call__"][0] == 0).all()


def test_initial_values_are_those_of_the_released_code():
    model = models.create("wide_resnet", num_classes=10, depth=10, width=8)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    kernel, gamma, fc = (
        params["conv4"]["block1"]["conv2"]["kernel"],
        params["bn"]["scale"],
        params["fc"],
    )
    assert float(kernel.std()) == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.02)
    assert 0 <= gamma.min() < 0.05 and 0.95 < gamma.max() <= 1
    assert float(jnp.abs(fc["kernel"]).max()) == pytest.approx(512**-0.5, rel=0.02)
    assert (fc["bias"] == 0).all()


def test_dropout_changes_the_logits_in_training_only():
    model = models.create("wide_resnet", num_classes=10, depth=10, width=1, dropout=0.5)
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)

    def logits(key, train):
        rngs = {"dropout": jax.random.key(key)}
        return model.apply(variables, images, train=train, rngs=rngs, mutable=["batch_stats"])[0]

    assert (logits(0, False) == logits(1, False)).all()
    assert (logits(0, True) != logits(1, True)).any()


@pytest.mark.parametrize("option", [{"depth": 17}, {"width": 0}, {"dropout": 1.0}, {"gamma": "x"}])
def test_impossible_options_are_refused(option):
    with pytest.raises(UserError, match=next(iter(option))):
        models.create("wide_resnet", num_classes=10, **option)
