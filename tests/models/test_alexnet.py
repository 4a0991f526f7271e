"""AlexNet is the network of Krizhevsky et al. (2012), or torchvision's of one tower."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import errors, models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.interop import torchvision
from cnn_jax.interop.sources import names_alexnet
from cnn_jax.models import pooling
from experiments.alexnet import published
from tests.models.networks import drawn, filled, lowered


def small(variant, **options):
    return models.create("alexnet", num_classes=10, variant=variant, fc_width=128, **options)


@pytest.mark.parametrize("variant", ["paper", "caffe"])
def test_parameters_and_multiply_adds_of_the_grouped_network(variant):
    found = layers_of(models.create("alexnet", num_classes=1000, variant=variant), (227, 227, 3))
    assert sum(layer.parameters for layer in found) == published.PARAMETERS
    assert sum(layer.multiply_adds for layer in found) == published.MULTIPLY_ADDS


def test_parameters_and_multiply_adds_of_one_tower_are_torchvisions():
    found = layers_of(torchvision.module("alexnet"), (224, 224, 3))
    row = published.TORCHVISION["alexnet"]
    assert sum(layer.parameters for layer in found) == row["parameters"]
    assert round(sum(layer.multiply_adds for layer in found) / 1e9, 3) == row["multiply_adds"]


@pytest.mark.parametrize(
    ("variant", "size", "channels", "groups"),
    [("paper", 227, (96, 256, 384, 384, 256), 2), ("one_tower", 224, (64, 192, 384, 256, 256), 1)],
)
def test_output_and_groups_of_every_layer(variant, size, channels, groups):
    model = models.create("alexnet", num_classes=1000, variant=variant)
    found = {layer.name: layer for layer in layers_of(model, (size, size, 3))}
    sides = (55, 27, 13, 13, 13)
    for i, (side, out) in enumerate(zip(sides, channels, strict=True), 1):
        assert found[f"conv{i}"].output_shape == (side, side, out)
    seen = [found[f"conv{i}"].kernel_shape[2] for i in range(1, 6)]
    c1, c2, c3, c4, _ = channels
    assert seen == [3, c1 // groups, c2, c3 // groups, c4 // groups]
    assert found["fc6"].kernel_shape == (6 * 6 * channels[-1], 4096)
    assert found["fc7"].kernel_shape == (4096, 4096)
    assert found["fc8"].output_shape == (1000,)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("paper", {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}),
        ("caffe", {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}),
        ("one_tower", None),
    ],
)
def test_response_normalization_follows_conv1_and_conv2(monkeypatch, variant, expected):
    calls = []
    monkeypatch.setattr(
        pooling,
        "local_response_norm",
        lambda x, **settings: calls.append((x.shape[1:], settings)) or x,
    )
    layers_of(models.create("alexnet", num_classes=10, variant=variant), (227, 227, 3))
    wanted = [((55, 55, 96), expected), ((27, 27, 256), expected)] if expected else []
    assert calls == wanted


@pytest.mark.parametrize(
    ("variant", "hidden_std", "hidden_bias"), [("paper", 0.01, 1.0), ("caffe", 0.005, 0.1)]
)
def test_initial_weights_are_normal_and_biases_high_in_conv2_4_5_and_hidden_layers(
    variant, hidden_std, hidden_bias
):
    layers = drawn(small(variant), 67)
    assert len(layers) == 8
    for name, (kernel, bias) in layers.items():
        std = hidden_std if name in ("fc6", "fc7") else 0.01
        assert kernel.std() == pytest.approx(std, rel=0.1 if name == "fc8" else 0.03), name
        high = name in ("conv2", "conv4", "conv5", "fc6", "fc7")
        np.testing.assert_allclose(bias, hidden_bias if high else 0.0)


def test_initial_weights_of_one_tower_are_torchs():
    layers = drawn(small("one_tower"), 67)
    assert len(layers) == 8
    for name, (kernel, bias) in layers.items():
        bound = np.prod(kernel.shape[:-1]) ** -0.5
        assert kernel.std() == pytest.approx(bound / 3**0.5, rel=0.05), name
        assert max(np.abs(kernel).max(), np.abs(bias).max()) <= bound
        assert bias.std() > 0.3 * bound


@pytest.mark.parametrize(
    ("variant", "order"),
    [
        ("paper", ["fc6", "dropout", "fc7", "dropout", "fc8"]),
        ("caffe", ["fc6", "dropout", "fc7", "dropout", "fc8"]),
        ("one_tower", ["dropout", "fc6", "dropout", "fc7", "fc8"]),
    ],
)
def test_dropout_follows_the_hidden_layers_and_precedes_them_in_torchvision(variant, order):
    found = []

    def note(call, arguments, keywords, context):
        if isinstance(context.module, nn.Dropout):
            assert context.module.rate == 0.5
            found.append("dropout")
        elif isinstance(context.module, nn.Dense):
            found.append(context.module.name)
        return call(*arguments, **keywords)

    with nn.intercept_methods(note):
        layers_of(models.create("alexnet", num_classes=10, variant=variant), (67, 67, 3))
    assert found == order


def test_logits_are_float32_and_without_dropout_when_not_training():
    model = small("paper", dtype="bfloat16")
    variables, images = filled(model, 67)
    logits = jax.eval_shape(model.apply, variables, images)
    assert (logits.shape, logits.dtype) == ((2, 10), jnp.float32)
    without = lowered(model.clone(dropout=0.0), variables, images, train=True)
    assert lowered(model, variables, images) == without


@pytest.mark.parametrize(("variant", "smallest"), [("paper", 39), ("one_tower", 63)])
def test_the_smallest_image_has_a_last_pooling_and_a_smaller_one_is_refused(variant, smallest):
    model = models.create("alexnet", num_classes=10, variant=variant)
    layers_of(model, (smallest, smallest, 3))
    with pytest.raises(errors.UserError, match=f"the smallest are {smallest}x{smallest}"):
        layers_of(model, (smallest - 1, smallest, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "one-tower"}, "did you mean 'one_tower'"),
        ({"dropout": -0.1}, r"dropout -0.1 is not in \[0, 1\)"),
        ({"fc_width": 0}, "fc_width 0 is less than 1"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(errors.UserError, match=message):
        models.create("alexnet", num_classes=10, **options)


def test_every_layer_has_a_torchvision_name_and_fc6_follows_the_flattening():
    model = torchvision.module("alexnet")
    found = {layer.name: layer for layer in layers_of(model, (224, 224, 3))}
    names = names_alexnet.torch_names(model)
    assert list(names) == list(found)
    assert names["fc6"] == "classifier.1"
    layer, side = names_alexnet.FLATTENED
    assert 256 * side**2 == found[layer].kernel_shape[0]
