"""VGG is the network of Simonyan & Zisserman (2014), configurations A to E."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import errors, models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.interop import torchvision
from cnn_jax.interop.sources import names_vgg
from cnn_jax.models import pooling, vgg
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.training import compiler
from experiments.vgg import published
from tests.models.networks import drawn, filled, lowered, outputs_at

CONFIGURATIONS = {
    "A": {"depth": 11},
    "B": {"depth": 13},
    "C": {"depth": 16, "conv1x1": True},
    "D": {"depth": 16},
    "E": {"depth": 19},
}


def small(**options):
    return models.create("vgg", num_classes=10, fc_width=64, **{"depth": 11} | options)


@pytest.mark.parametrize("configuration", published.TABLE_2)
def test_table_2_parameters_in_millions(configuration):
    model = models.create("vgg", num_classes=1000, **CONFIGURATIONS[configuration])
    count = sum(layer.parameters for layer in layers_of(model, (224, 224, 3)))
    assert round(count / 1e6) == published.TABLE_2[configuration]


@pytest.mark.parametrize("name", published.TORCHVISION)
def test_parameters_and_multiply_adds_are_torchvisions(name):
    found = layers_of(torchvision.module(name), (224, 224, 3))
    row = published.TORCHVISION[name]
    assert sum(layer.parameters for layer in found) == row["parameters"]
    assert round(sum(layer.multiply_adds for layer in found) / 1e9, 3) == row["multiply_adds"]


@pytest.mark.parametrize(("configuration", "options"), CONFIGURATIONS.items())
def test_depth_counts_the_layers_with_weights(configuration, options):
    found = layers_of(models.create("vgg", num_classes=10, **options), (32, 32, 3))
    assert len(found) == options["depth"]
    small = [layer.name for layer in found if layer.kernel_shape[:2] == (1, 1)]
    assert small == (["conv3_3", "conv4_3", "conv5_3"] if configuration == "C" else [])


@pytest.mark.parametrize("conv1x1", [False, True])
def test_table_1_output_of_every_layer_at_224(conv1x1):
    model = models.create("vgg", num_classes=1000, depth=16, conv1x1=conv1x1)
    shapes = {layer.name: layer.output_shape for layer in layers_of(model, (224, 224, 3))}
    expected = {
        **{f"conv1_{i}": (224, 224, 64) for i in (1, 2)},
        **{f"conv2_{i}": (112, 112, 128) for i in (1, 2)},
        **{f"conv3_{i}": (56, 56, 256) for i in (1, 2, 3)},
        **{f"conv4_{i}": (28, 28, 512) for i in (1, 2, 3)},
        **{f"conv5_{i}": (14, 14, 512) for i in (1, 2, 3)},
        "fc6": (4096,),
        "fc7": (4096,),
        "fc8": (1000,),
    }
    assert shapes == expected


@pytest.mark.parametrize(("weight_init", "linear_std"), [("paper", 0.1), ("torchvision", 0.01)])
def test_initial_weights_are_normal_and_biases_zero(weight_init, linear_std):
    layers = drawn(small(weight_init=weight_init), 32)
    assert len(layers) == 11
    for name, (kernel, bias) in layers.items():
        std = linear_std
        if name.startswith("conv") and weight_init == "torchvision":
            std = (2 / (9 * kernel.shape[-1])) ** 0.5
        assert kernel.std() == pytest.approx(std, rel=0.1), name
        assert not bias.any()


def test_batch_norm_follows_every_convolution_whose_bias_stays():
    found = layers_of(small(batch_norm=True), (32, 32, 3))
    names = [layer.name for layer in found]
    assert names[:4] == ["conv1_1", "bn1_1", "conv2_1", "bn2_1"]
    assert len(names) == 2 * 8 + 3
    assert found[0].parameters == 27 * 64 + 64


def test_batch_norm_groups_divide_the_batch():
    model = small(batch_norm=True, bn_group_size=4)
    with pytest.raises(errors.UserError, match="does not divide into batch-norm groups of 4"):
        eval_shape(
            lambda images: model.init(jax.random.key(0), images, train=True),
            jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32),
        )


@pytest.mark.parametrize("lrn", [False, True])
def test_configuration_a_lrn_normalises_after_conv1_1_alone(monkeypatch, lrn):
    calls = []
    monkeypatch.setattr(
        pooling,
        "local_response_norm",
        lambda x, **settings: calls.append((x.shape[1:], settings)) or x,
    )
    layers_of(models.create("vgg", num_classes=10, depth=11, lrn=lrn), (224, 224, 3))
    settings = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}
    assert calls == ([((224, 224, 64), settings)] if lrn else [])


def test_dropout_acts_in_training_only():
    model = small()
    variables, images = filled(model, 32)

    @functools.partial(compiler.jit, once=True)
    def logits(variables, seed):
        return model.apply(variables, images, train=True, rngs={"dropout": jax.random.key(seed)})

    assert not np.allclose(logits(variables, 0), logits(variables, 1))
    without = lowered(model.clone(dropout=0.0), variables, images, train=True)
    assert lowered(model, variables, images) == without


def test_logits_are_float32_in_bfloat16_networks():
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    model = small(dtype="bfloat16", batch_norm=True)
    logits, variables = eval_shape(model.init_with_output, jax.random.key(0), images)
    assert (logits.shape, logits.dtype) == ((2, 10), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_a_map_of_one_pixel_reaches_fc6_seven_by_seven_times():
    model = small()
    variables, images = filled(model, 32)
    names = ("conv5_2", "fc6")

    @functools.partial(compiler.jit, once=True)
    def capture(variables, images):
        return model.apply(variables, images, capture_intermediates=lambda m, _: m.name in names)

    captured = jax.tree.map(np.asarray, capture(variables, images)[1]["intermediates"])
    pixel = np.maximum(captured["conv5_2"]["__call__"][0], 0).max((1, 2))
    fc6 = variables["params"]["fc6"]
    expected = np.tile(pixel, (1, 49)) @ fc6["kernel"] + fc6["bias"]
    np.testing.assert_allclose(captured["fc6"]["__call__"][0], expected, rtol=1e-4, atol=1e-5)


def test_a_larger_map_is_averaged_and_a_smaller_image_than_32_refused():
    model = models.create("vgg", num_classes=10)
    found = {layer.name: layer for layer in layers_of(model, (288, 256, 3))}
    assert found["conv5_3"].output_shape == (18, 16, 512)
    assert found["fc6"].kernel_shape == (7 * 7 * 512, 4096)
    layers_of(model, (32, 32, 3))
    with pytest.raises(errors.UserError, match=r"images of 32x31 .* the smallest are 32x32"):
        layers_of(model, (32, 31, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 12}, "depth 12 is not one of 11, 13, 16 and 19"),
        ({"depth": 19, "conv1x1": True}, r"conv1x1 \(configuration C\) has depth 16, not 19"),
        ({"weight_init": "torch"}, "did you mean 'torchvision'"),
        ({"dropout": 1.0}, r"dropout 1.0 is not in \[0, 1\)"),
        ({"fc_width": 0}, "fc_width 0 is less than 1"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(errors.UserError, match=message):
        models.create("vgg", num_classes=10, **options)


@pytest.mark.parametrize("name", published.TORCHVISION)
def test_every_layer_has_a_torchvision_name_of_its_own(name):
    model = torchvision.module(name)
    names = names_vgg.torch_names(model)
    found = {layer.name: layer for layer in layers_of(model, (64, 64, 3))}
    assert list(names) == list(found)
    assert len(set(names.values())) == len(names)
    layer, side = names_vgg.FLATTENED
    assert vgg.CHANNELS[-1] * side**2 == found[layer].kernel_shape[0]


def test_torch_names_count_relu_pooling_and_batch_norm():
    names = names_vgg.torch_names(torchvision.module("vgg16"))
    assert (names["conv2_1"], names["conv5_3"]) == ("features.5", "features.28")
    names = names_vgg.torch_names(torchvision.module("vgg16_bn"))
    assert (names["conv5_3"], names["bn5_3"]) == ("features.40", "features.41")


@pytest.mark.parametrize("size,side", [(224, 1), (256, 2)])
def test_linear_layers_slide_over_the_map_of_a_larger_image(size, side):
    found = outputs_at("vgg", size, depth=11, fc_width=8, fully_convolutional=True)
    linear = {name: found[name] for name in ("fc6", "fc7", "fc8")}
    assert linear == {"fc6": (side, side, 8), "fc7": (side, side, 8), "fc8": (side, side, 10)}


def test_kernels_start_from_these_deviations():
    key, deviations = jax.random.key(0), {"paper": (0.1, 0.1), "torchvision": (0.1, 0.01)}
    for name, expected in deviations.items():  # of kernels [200, 200]: (2 / 200)^0.5 is 0.1
        found = [np.std(init(key, (200, 200), jnp.float32)) for init in vgg.WEIGHT_INITS[name]]
        np.testing.assert_allclose(found, expected, rtol=0.02)
