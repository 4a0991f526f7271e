"""Wide ResNet is the network of Zagoruyko & Komodakis (2016), Tables 1 to 4, 7 and 8."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from cnn_jax import models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.errors import UserError
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.wide_resnet import BLOCKS, WideBlock, WideResNet
from cnn_jax.training import compiler
from experiments.wide_resnet import published

IMAGE = (32, 32, 3)


def create(num_classes=10, **options):
    return models.create("wide_resnet", num_classes=num_classes, **options)


@functools.cache
def shapes(model):
    image = jax.ShapeDtypeStruct((1, *IMAGE), jnp.float32)
    return eval_shape(model.init, jax.random.key(0), image)["params"]


def parameters(model):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes(model)))


@functools.cache
def layers_in(network, num_classes=10):
    """The layers of "40-4", for images of CIFAR."""
    return layers_of(create(num_classes, **depth_and_width(network)), IMAGE)


def names_of(model):
    return {"/".join(path[:-1]) for path in flatten_dict(shapes(model))}


def depth_and_width(network):
    return dict(zip(("depth", "width"), map(int, network.split("-")), strict=True))


# --- the paper's tables ------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [10, 100])
@pytest.mark.parametrize("network", published.COUNTED)
def test_parameters_are_exact(network, num_classes):
    count = sum(layer.parameters for layer in layers_in(network, num_classes))
    assert count == published.COUNTED[network][num_classes]


@pytest.mark.parametrize("network", published.TABLE_4)
def test_parameters_are_those_printed_in_table_4(network):
    count = sum(layer.parameters for layer in layers_in(network))
    assert round(count / 1e6, 1) == published.TABLE_4[network]["parameters"] / 1e6


@pytest.mark.parametrize("network", published.COUNTED)
def test_multiply_adds(network):
    count = sum(layer.multiply_adds for layer in layers_in(network))
    assert round(count / 1e9, 3) == published.COUNTED[network]["multiply_adds"]


@pytest.mark.parametrize("block", published.TABLE_2)
def test_parameters_of_the_blocks_of_table_2(block):
    row = published.TABLE_2[block]
    count = parameters(create(depth=row["depth"], width=2, block=block))
    assert count == published.TABLE_2_COUNTED[block]
    assert round(count / 1e6, 1) == row["parameters"] / 1e6


def test_blocks_are_the_rows_of_table_2():
    assert set(BLOCKS) == set(published.TABLE_2)


@pytest.mark.parametrize("deepening", published.TABLE_3)
def test_parameters_of_the_deepening_factors_of_table_3(deepening):
    count = parameters(create(depth=40, width=2, deepening=deepening))
    assert count == published.TABLE_3_COUNTED[deepening]


@pytest.mark.parametrize(("depth", "width"), published.TABLE_7)
def test_wide_networks_have_the_parameters_of_table_7(depth, width):
    count = parameters(models.create("resnet", num_classes=1000, depth=depth, width=width))
    assert count == published.TABLE_7_COUNTED[depth, width]
    assert round(count / 1e6, 1) == published.TABLE_7[depth, width]["parameters"] / 1e6


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ("ResNet-50", {"depth": 50}),
        ("ResNet-101", {"depth": 101}),
        ("ResNet-152", {"depth": 152}),
        ("WRN-50-2-bottleneck", {"depth": 50, "inner_width": 2.0}),
        ("pre-ResNet-200", {"depth": 200, "preactivation": True}),
    ],
)
def test_bottlenecks_have_the_parameters_of_table_8(row, options):
    count = parameters(models.create("resnet", num_classes=1000, **options))
    assert round(count / 1e6, 1) == published.TABLE_8[row]["parameters"] / 1e6


def test_output_shapes_are_those_of_table_1():
    outputs = {x.name: x.output_shape for x in layers_of(create(depth=16, width=8), IMAGE)}
    assert outputs["conv1"] == (32, 32, 16)
    for i in (1, 2):
        for conv in ("conv1", "conv2"):
            assert outputs[f"conv2/block{i}/{conv}"] == (32, 32, 128)
            assert outputs[f"conv3/block{i}/{conv}"] == (16, 16, 256)
            assert outputs[f"conv4/block{i}/{conv}"] == (8, 8, 512)
    assert outputs["bn"] == (8, 8, 512)
    assert outputs["fc"] == (10,)


@pytest.mark.parametrize("block", BLOCKS)
def test_kernels_of_a_block_are_what_its_name_says_and_equally_wide(block):
    layers = layers_of(create(depth=10, width=2, block=block), IMAGE)
    kernels = [x.kernel_shape for x in layers if x.name.startswith("conv3/block1/conv")]
    assert "B({})".format(",".join(str(kernel[0]) for kernel in kernels)) == block
    assert kernels[0][2:] == (32, 64)
    assert all(kernel[2:] == (64, 64) for kernel in kernels[1:])


def test_names_of_the_default_block_stay():
    inside = ("bn1", "conv1", "bn2", "conv2", "shortcut")
    units = {f"conv{group}/block1/{layer}" for group in (2, 3, 4) for layer in inside}
    assert names_of(create(depth=10, width=2)) == {"conv1", "bn", "fc"} | units


def test_width_1_has_no_projection_in_conv2():
    names = names_of(create(depth=40, width=1))
    projections = {name for name in names if name.endswith("shortcut")}
    assert projections == {"conv3/block1/shortcut", "conv4/block1/shortcut"}


# --- the block, written out --------------------------------------------------------------------


def block_of(kernels=(3, 3), channels=4, stride=1, dropout=0.0):
    return WideBlock(kernels, channels, stride, dropout, "uniform", None, "float32")


def initial_of(block, x):
    return compiler.jit(lambda x: block.init(jax.random.key(0), x, False), once=True)(x)


def parts(block, x):
    """The block's variables, and its layers as functions in test mode."""
    variables = initial_of(block, x)

    def conv(name, x, stride=1):
        kernel = variables["params"][name]["kernel"]
        padding = [(kernel.shape[0] // 2,) * 2] * 2
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), padding, dimension_numbers=dims
        )

    def bn_relu(name, x):
        params = variables["params"][name]
        return nn.relu(x * params["scale"] / jnp.sqrt(1 + 1e-5) + params["bias"])

    return variables, conv, bn_relu


def test_block_is_pre_activated_with_the_identity_around_it():
    x = jax.random.normal(jax.random.key(1), (2, 6, 6, 4))
    block = block_of((3, 1, 3))
    variables, conv, bn_relu = parts(block, x)
    y = x
    for i in (1, 2, 3):
        y = conv(f"conv{i}", bn_relu(f"bn{i}", y))
    np.testing.assert_allclose(block.apply(variables, x, False), x + y, rtol=1e-4, atol=1e-5)


def test_block_that_changes_dimensions_activates_before_the_split():
    x = jax.random.normal(jax.random.key(1), (2, 6, 6, 4))
    block = block_of((1, 3), channels=6, stride=2)
    variables, conv, bn_relu = parts(block, x)
    active = bn_relu("bn1", x)
    y = conv("conv2", bn_relu("bn2", conv("conv1", active, 2)))
    expected = conv("shortcut", active, 2) + y
    np.testing.assert_allclose(block.apply(variables, x, False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "drops"),
    [({}, 1), ({"block": "B(3,1,3)"}, 2), ({"depth": 13, "deepening": 3}, 2)],
)
def test_dropout_stands_between_the_convolutions(options, drops):
    called = []

    def note(call, arguments, keywords, context):
        kind = context.module
        if isinstance(kind, nn.Conv | nn.Dropout) and context.method_name == "__call__":
            called.append(("drop", kind.rate) if isinstance(kind, nn.Dropout) else kind.name)
        return call(*arguments, **keywords)

    with nn.intercept_methods(note):
        shapes.__wrapped__(create(**{"depth": 10, "width": 1, "dropout": 0.3, **options}))
    between = [item for i in range(2, drops + 2) for item in (("drop", 0.3), f"conv{i}")]
    assert called == ["conv1", *(["conv1", *between]), *(["shortcut", "conv1", *between] * 2)]


def test_dropout_drops_its_share_in_training_only():
    block = block_of(dropout=0.3)
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 4))
    variables = initial_of(block, x)
    seen = {}

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if isinstance(context.module, nn.Dropout):
            seen["before"], seen["after"] = arguments[0], output
        return output

    with nn.intercept_methods(note):
        block.apply(
            variables, x, True, rngs={"dropout": jax.random.key(2)}, mutable=["batch_stats"]
        )
        positive = seen["before"] > 0
        kept = seen["after"][positive] > 0
        assert abs(kept.mean() - 0.7) < 0.08
        block.apply(variables, x, False)
        np.testing.assert_array_equal(seen["after"], seen["before"])


# --- initial values, sizes and mistakes --------------------------------------------------------


@pytest.mark.parametrize("init_fan", ["in", "out"])
def test_initial_deviations_are_those_of_the_released_code(init_fan):
    found = {}

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if "params" in context.module.variables:
            path = "/".join(context.module.path)
            found[path] = context.module, context.module.variables["params"]
        return output

    with nn.intercept_methods(note):
        shapes.__wrapped__(create(depth=10, width=2, init_fan=init_fan))

    def initial(name, kind):
        layer, params = found[name]
        return getattr(layer, f"{kind}_init")(jax.random.key(0), params[kind].shape)

    for name in ("conv1", "conv2", "shortcut"):
        kernel = initial(f"conv4/block1/{name}", "kernel")
        fan = math.prod(kernel.shape[:2]) * kernel.shape[2 if init_fan == "in" else 3]
        expected = math.sqrt(2 / fan)
        assert abs(kernel.std() / expected - 1) < 4 / math.sqrt(2 * kernel.size)
    fc = initial("fc", "kernel")
    assert abs(fc).max() <= 1 / math.sqrt(128)  # Torch's default
    assert abs(fc.std() * math.sqrt(3 * 128) - 1) < 0.1
    gamma = initial("conv4/block1/bn2", "scale")
    assert 0 <= gamma.min() < 0.1 < 0.9 < gamma.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (13, 7), (64, 64)])
def test_images_of_any_size(size):
    image = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    model = create(depth=10, width=2)
    logits, _ = eval_shape(model.init_with_output, jax.random.key(0), image)
    assert (logits.shape, logits.dtype) == ((2, 10), jnp.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 29}, "not 6N"),
        ({"depth": 4}, "not 6N"),
        ({"depth": 28, "deepening": 3}, "not 9N"),
        ({"block": "B(3,3,1)"}, "unknown block"),
        ({"block": "B(3,1)", "deepening": 3}, "other blocks than"),
        ({"deepening": 0}, "at least 1"),
        ({"depth": 40, "deepening": 1, "dropout": 0.3}, "deepening 1 there is one"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"width": 0}, "width 0"),
        ({"gamma": "one"}, "did you mean 'ones'"),
        ({"init_fan": "fan_in"}, "unknown init_fan"),
    ],
)
def test_wrong_options_are_told_in_one_line(options, message):
    with pytest.raises(UserError, match=message) as raised:
        WideResNet(num_classes=10, **options)
    assert "\n" not in str(raised.value)
