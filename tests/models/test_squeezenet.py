"""SqueezeNet is the network of Iandola et al. (2016), Table 1, bypasses and design space."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import errors, models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.interop import torchvision
from cnn_jax.interop.sources import names_squeezenet
from cnn_jax.models import squeezenet
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.training import compiler
from experiments.squeezenet import published
from tests.models.networks import drawn, filled, lowered


def parameters(image_size=64, **options):
    model = models.create("squeezenet", num_classes=1000, **options)
    return sum(layer.parameters for layer in layers_of(model, (image_size, image_size, 3)))


def modules(model, image_size):
    """Name -> (shape of the input, of the output) of the layers at the top."""
    shapes = {}

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if len(context.module.path) == 1:
            shapes[context.module.path[0]] = (arguments[0].shape[1:], output.shape[1:])
        return output

    images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    with nn.intercept_methods(note):
        eval_shape(model.init, jax.random.key(0), images)
    return shapes


def test_table_1_parameters_of_every_layer():
    model = models.create("squeezenet", num_classes=1000)
    layers = layers_of(model, (227, 227, 3))
    ours = {
        name: sum(layer.parameters for layer in group)
        for name, group in itertools.groupby(layers, lambda layer: layer.name.split("/")[0])
    }
    assert ours == {n: row["parameters"] for n, row in published.TABLE_1.items() if n in ours}
    assert sum(ours.values()) == published.TABLE_1_PARAMETERS
    assert f"{sum(ours.values()) * 4 / 2**20:.1f}" == str(published.TABLE_3["none"]["megabytes"])


def test_table_1_output_of_every_layer():
    shapes = modules(models.create("squeezenet", num_classes=1000), 227)
    after = {"maxpool1": "fire2", "maxpool4": "fire5", "maxpool8": "fire9"}
    ours = {
        name: shapes[after[name]][0] if name in after else shapes[name][1]
        for name in published.TABLE_1
    }
    assert ours == {name: row["output"] for name, row in published.TABLE_1.items()}


@pytest.mark.parametrize("name", published.TORCHVISION)
def test_parameters_and_multiply_adds_are_torchvisions(name):
    layers = layers_of(torchvision.module(name), (224, 224, 3))
    row = published.TORCHVISION[name]
    assert sum(layer.parameters for layer in layers) == row["parameters"]
    assert round(sum(layer.multiply_adds for layer in layers) / 1e9, 3) == row["multiply_adds"]


def test_operations_of_the_readme_are_those_of_version_1_0_with_padded_conv10_at_227():
    model = models.create("squeezenet", num_classes=1000, conv10_padding=1)
    multiply_adds = sum(layer.multiply_adds for layer in layers_of(model, (227, 227, 3)))
    assert round(2 * multiply_adds / 1e9, 2) == published.README["1.0"]["gigaflops"]


@pytest.mark.parametrize("side", published.README_1_1_COUNTED)
def test_operations_of_version_1_1_are_not_quite_those_of_the_readme(side):
    model = models.create("squeezenet", num_classes=1000, version="1.1")
    operations = 2 * sum(layer.multiply_adds for layer in layers_of(model, (side, side, 3))) / 1e9
    assert operations == pytest.approx(published.README_1_1_COUNTED[side], abs=0.001)
    assert operations == pytest.approx(published.README["1.1"]["gigaflops"], rel=0.08)


def test_sides_of_the_maps_at_224():
    shapes = modules(models.create("squeezenet", num_classes=1000), 224)
    sides = {name: output[0] for name, (_, output) in shapes.items()}
    sides |= {f"maxpool{i}": shapes[f"fire{i + 1}"][0][0] for i in (1, 4, 8)}
    assert {name: sides[name] for name in published.SIDES_AT_224} == published.SIDES_AT_224


def test_version_1_1_pools_after_conv1_fire3_and_fire5():
    shapes = modules(models.create("squeezenet", num_classes=1000, version="1.1"), 227)
    assert shapes["conv1"][1] == (113, 113, 64)
    assert [shapes[f"fire{i}"][0][0] for i in range(2, 10)] == [56, 56, 28, 28, 14, 14, 14, 14]


@pytest.mark.parametrize(("squeeze_ratio", "pct_3x3"), published.FIGURE_3_COUNTED)
def test_figure_3_design_space_parameters(squeeze_ratio, pct_3x3):
    count = parameters(squeeze_ratio=squeeze_ratio, pct_3x3=pct_3x3)
    assert count == published.FIGURE_3_COUNTED[squeeze_ratio, pct_3x3]


@pytest.mark.parametrize("ratio", [r for r in published.FIGURE_3A if r != 1.0])
def test_figure_3a_sizes_in_megabytes(ratio):
    megabytes = parameters(squeeze_ratio=ratio) * 4 / 2**20
    assert megabytes == pytest.approx(published.FIGURE_3A[ratio]["megabytes"], rel=0.04)


@pytest.mark.parametrize("share", published.FIGURE_3B)
def test_figure_3b_sizes_in_megabytes(share):
    megabytes = parameters(squeeze_ratio=0.5, pct_3x3=share) * 4 / 2**20
    assert round(megabytes) == published.FIGURE_3B[share]["megabytes"]


def test_the_defaults_are_squeezenets_metaparameters():
    defaults = models.options("squeezenet")
    assert {name: defaults[name] for name in published.METAPARAMETERS} == published.METAPARAMETERS


def test_bypass_simple_adds_no_parameters_and_complex_four_convolutions():
    assert parameters(bypass="simple") == published.TABLE_1_PARAMETERS
    counted = published.COMPLEX_BYPASS_COUNTED
    assert parameters(bypass="complex") == counted["fire2, 4, 6, 8"]
    model = models.create("squeezenet", num_classes=1000, bypass="complex")
    names = [layer.name for layer in layers_of(model, (64, 64, 3)) if "bypass" in layer.name]
    assert names == [f"fire{i}/bypass" for i in (2, 4, 6, 8)]
    others = [128, 256, 384, 512]  # channels in and out of fire3, 5, 7 and 9
    every = counted["fire2, 4, 6, 8"] + sum(c * c + c for c in others)
    assert every == counted["every fire"]


def initial(fire, x):
    made = compiler.jit(fire.init, once=True)(jax.random.key(0), x)
    return jax.tree.map(np.asarray, made["params"])


@pytest.mark.parametrize(
    ("bypass", "relu", "channels", "expected"),
    [
        ("none", False, 8, "nothing"),
        ("simple", False, 8, "input"),
        ("simple", False, 6, "nothing"),
        ("complex", False, 8, "input"),
        ("complex", False, 6, "convolution"),
        ("complex", True, 6, "rectified convolution"),
    ],
)
def test_a_fire_module_of_zeros_gives_its_bypass_unrectified(bypass, relu, channels, expected):
    fire = squeezenet.Fire(squeezenet.FireSizes(2, 4, 4), bypass, relu, "caffe", "float32")
    x = np.random.default_rng(1).standard_normal((1, 5, 5, channels), np.float32)
    params = initial(fire, x)
    for name in ("expand1x1", "expand3x3"):
        params[name] = jax.tree.map(np.zeros_like, params[name])
    y = np.asarray(compiler.jit(fire.apply, once=True)({"params": params}, x))
    assert ("bypass" in params) == ("convolution" in expected)
    projected = x @ params["bypass"]["kernel"][0, 0] if "bypass" in params else x
    bypasses = {
        "nothing": np.zeros_like(y),
        "input": x,
        "convolution": projected,
        "rectified convolution": np.maximum(projected, 0),
    }
    np.testing.assert_allclose(y, bypasses[expected], rtol=1e-5, atol=1e-6)


def test_expand1x1_comes_before_expand3x3():
    fire = squeezenet.Fire(squeezenet.FireSizes(2, 3, 5), "none", False, "caffe", "float32")
    x = np.ones((1, 4, 4, 6), np.float32)
    params = initial(fire, x)
    params["expand1x1"]["bias"] = np.full(3, 10, np.float32)
    params["expand3x3"] = jax.tree.map(np.zeros_like, params["expand3x3"])
    y = compiler.jit(fire.apply, once=True)({"params": params}, x)
    assert (y[..., :3] > 5).all()
    assert (y[..., 3:] == 0).all()


def test_conv10_padding_averages_over_a_border_of_rectified_biases():
    model = models.create("squeezenet", num_classes=10)
    variables, images = filled(model, 67)
    bias = jnp.linspace(-1, 1, 10)
    variables["params"]["conv10"]["bias"] = bias
    logits = compiler.jit(model.apply, once=True)(variables, images)
    padded = compiler.jit(model.clone(conv10_padding=1).apply, once=True)(variables, images)
    np.testing.assert_allclose(padded, (9 * logits + 16 * nn.relu(bias)) / 25, rtol=1e-5)
    shapes = modules(models.create("squeezenet", num_classes=1000, conv10_padding=1), 227)
    assert shapes["conv10"][1] == (15, 15, 1000)


@pytest.mark.parametrize(("weight_init", "variance"), [("caffe", 1), ("torchvision", 2)])
def test_initial_weights_are_uniform_and_those_of_conv10_normal(weight_init, variance):
    layers = drawn(models.create("squeezenet", num_classes=1000, weight_init=weight_init), 32)
    conv10, _ = layers["conv10"]
    assert conv10.std() == pytest.approx(0.01, rel=0.03)
    assert np.abs(conv10).max() > 0.03
    assert len(layers) == 26
    for name, (kernel, bias) in layers.items():
        assert not bias.any()
        if name != "conv10":
            bound = (3 * variance / np.prod(kernel.shape[:3])) ** 0.5
            assert kernel.std() == pytest.approx(bound / 3**0.5, rel=0.05), name
            assert 0.98 * bound < np.abs(kernel).max() <= bound, name


def test_logits_are_rectified_averages_in_float32():
    model = models.create("squeezenet", num_classes=10, dtype="bfloat16")
    variables, images = filled(model, 32)
    logits = compiler.jit(model.apply, once=True)(variables, images)
    assert logits.shape == (2, 10)
    assert logits.dtype == jnp.float32
    assert (logits >= 0).all() and (logits > 0).any()


def test_dropout_acts_in_training_only():
    model = models.create("squeezenet", num_classes=10)
    variables, images = filled(model, 32)

    @functools.partial(compiler.jit, once=True)
    def logits(variables, seed):
        return model.apply(variables, images, train=True, rngs={"dropout": jax.random.key(seed)})

    assert not np.allclose(logits(variables, 0), logits(variables, 1))
    without = lowered(model.clone(dropout=0.0), variables, images, train=True)
    assert lowered(model, variables, images) == without


@pytest.mark.parametrize(
    ("options", "smallest"),
    [({}, 21), ({"version": "1.1"}, 17), ({"small_input": True}, 8)],
)
def test_the_smallest_image_leaves_one_pixel_and_a_smaller_one_is_refused(options, smallest):
    model = models.create("squeezenet", num_classes=10, **options)
    assert modules(model, smallest)["conv10"][1] == (1, 1, 10)
    with pytest.raises(errors.UserError, match=f"the smallest are {smallest}x{smallest}"):
        modules(model, smallest - 1)


def test_small_input_keeps_the_size_in_conv1():
    shapes = modules(models.create("squeezenet", num_classes=10, small_input=True), 32)
    assert shapes["conv1"][1] == (32, 32, 96)
    assert shapes["conv10"][1] == (4, 4, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "1"}, "unknown version of squeezenet '1'.*choose from: 1.0, 1.1"),
        ({"bypass": "simpel"}, "did you mean 'simple'"),
        ({"weight_init": "he"}, "choose from: caffe, torchvision"),
        ({"dropout": 1.0}, r"dropout 1.0 is not in \[0, 1\)"),
        ({"conv10_padding": -1}, "conv10_padding -1 is negative"),
        ({"bypass_relu": True}, "bypass_relu goes with bypass='complex'"),
        ({"freq": 0}, "freq 0 is less than 1"),
        ({"pct_3x3": 1.0}, "leave fire2 with"),
        ({"squeeze_ratio": 0.0}, "leave fire2 with"),
        ({"sr": 0.5}, "unknown option of squeezenet"),
    ],
)
def test_a_wrong_option_is_refused_with_the_right_ones(options, message):
    with pytest.raises(errors.UserError, match=message):
        models.create("squeezenet", num_classes=10, **options)


@pytest.mark.parametrize("name", published.TORCHVISION)
def test_every_layer_has_a_torchvision_name_of_its_own(name):
    model = torchvision.module(name)
    names = names_squeezenet.torch_names(model)
    assert list(names) == [layer.name for layer in layers_of(model, (64, 64, 3))]
    assert len(set(names.values())) == len(names)


def test_torch_names_count_the_pooling_layers():
    names = names_squeezenet.torch_names(torchvision.module("squeezenet1_1"))
    assert names["fire3/expand3x3"] == "features.4.expand3x3"
    assert names["fire4/squeeze1x1"] == "features.6.squeeze"
    assert names["fire9/expand1x1"] == "features.12.expand1x1"
