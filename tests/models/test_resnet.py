"""ResNet is the network of He et al. (2016), Table 1, and what later papers made of it."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax.traverse_util import flatten_dict

from cnn_jax import models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.errors import UserError
from cnn_jax.interop import torchvision
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.layers import BatchNorm
from cnn_jax.models.resnet import ResNet
from experiments.resnet import published

IMAGE = (224, 224, 3)
# The cheapest network, for what does not depend on the depth.
SMALL = {"depth": 18, "width": 1 / 16}


def create(num_classes=1000, **options):
    return models.create("resnet", num_classes=num_classes, **options)


@functools.cache
def layers_at_224(model):
    return layers_of(model, IMAGE)


def counts(model):
    layers = layers_at_224(model)
    return sum(x.parameters for x in layers), sum(x.multiply_adds for x in layers) / 1e9


def names_of(model):
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params = eval_shape(model.init, jax.random.key(0), image)["params"]
    return {"/".join(path[:-1]) for path in flatten_dict(params)}


def outputs_of(model):
    return {layer.name: layer.output_shape for layer in layers_at_224(model)}


# --- the papers' tables ------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "shortcut"), published.COUNTED)
def test_parameters_and_multiply_adds_are_exact(depth, shortcut):
    expected = published.COUNTED[depth, shortcut]
    parameters, multiply_adds = counts(create(depth=depth, shortcut=shortcut))
    assert parameters == expected["parameters"]
    assert round(multiply_adds, 3) == expected["multiply_adds"]


@pytest.mark.parametrize("depth", published.TABLE_1)
def test_multiply_adds_are_those_published_in_table_1(depth):
    shortcut = "A" if depth < 50 else "B"
    multiply_adds = counts(create(depth=depth, shortcut=shortcut))[1]
    # The paper cuts 3.858 to 3.8 and rounds 7.570 to 7.6.
    assert abs(multiply_adds - published.TABLE_1[depth] / 1e9) < 0.06


def test_plain_34_costs_what_section_3_3_says():
    parameters, multiply_adds = counts(create(depth=34, residual=False))
    assert round(multiply_adds, 1) == published.SECTION_3_3["plain-34"] / 1e9
    assert parameters == published.COUNTED[34, "A"]["parameters"]


@pytest.mark.parametrize("name", published.TORCHVISION)
def test_torchvision_variants_have_its_parameters_and_multiply_adds(name):
    parameters, multiply_adds = counts(torchvision.module(name))
    assert parameters == published.TORCHVISION[name]["parameters"]
    assert round(multiply_adds, 3) == published.TORCHVISION[name]["multiply_adds"]


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [
        (18, (2, 2, 2, 2)),
        (34, (3, 4, 6, 3)),
        (50, (3, 4, 6, 3)),
        (101, (3, 4, 23, 3)),
        (152, (3, 8, 36, 3)),
        (200, (3, 24, 36, 3)),
    ],
)
def test_output_shapes_are_those_of_table_1(depth, blocks):
    outputs = outputs_of(create(depth=depth))
    last, factor = ("conv2", 1) if depth < 50 else ("conv3", 4)
    assert outputs.pop("conv1") == (112, 112, 64)
    assert outputs.pop("fc") == (1000,)
    for stage, size, channels, count in zip((2, 3, 4, 5), (56, 28, 14, 7), (64, 128, 256, 512),
                                            blocks, strict=True):  # fmt: skip
        units = {n.split("/")[1] for n in outputs if n.startswith(f"conv{stage}/")}
        assert units == {f"block{i}" for i in range(1, count + 1)}
        for i in range(1, count + 1):
            unit = f"conv{stage}/block{i}"
            assert outputs[f"{unit}/conv1"] == (size, size, channels)
            assert outputs[f"{unit}/{last}"] == (size, size, factor * channels)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152, 200])
def test_depth_counts_convolutions_of_the_units_the_first_one_and_fc(depth):
    layers = [x for x in layers_at_224(create(depth=depth)) if x.kind != "BatchNorm"]
    assert sum("shortcut" not in x.name for x in layers) == depth


# --- options -----------------------------------------------------------------------------------


def test_stride_is_in_the_first_1x1_or_in_the_3x3():
    paper = outputs_of(create(depth=50))
    torch = outputs_of(create(depth=50, stride_in="3x3"))
    for stage, size in (("conv3", 28), ("conv4", 14), ("conv5", 7)):
        assert paper[f"{stage}/block1/conv1"][0] == size
        assert torch[f"{stage}/block1/conv1"][0] == 2 * size
        assert torch[f"{stage}/block1/conv2"][0] == size


@pytest.mark.parametrize(
    ("options", "projected"),
    [
        ({"depth": 34, "shortcut": "A"}, 0),
        ({"depth": 34, "shortcut": "B"}, 3),
        ({"depth": 34, "shortcut": "C"}, 16),  # section 4.1: 13 more than B
        ({"depth": 50, "shortcut": "B"}, 4),  # conv2 too: 64 -> 256
    ],
)
def test_number_of_projections(options, projected):
    assert sum(n.endswith("/shortcut") for n in outputs_of(create(**options))) == projected


def test_long_stages_are_scanned():
    names = names_of(create(depth=101))
    assert "conv4/blocks/conv1" in names and "conv4/block2/conv1" not in names
    assert "conv3/block4/conv1" in names


def test_preactivation_moves_the_first_and_the_last_activation_out_of_the_units():
    original = names_of(create(depth=50))
    preactivated = names_of(create(depth=50, preactivation=True))
    projected = {f"conv{stage}/block1/shortcut_bn" for stage in (2, 3, 4, 5)}
    assert original - preactivated == {"conv2/block1/bn1", *projected}
    assert preactivated - original == {"bn"}


def test_preactivated_batch_norms_stand_before_their_convolutions():
    outputs = outputs_of(create(depth=50, preactivation=True))
    assert outputs["conv3/block1/bn1"] == (56, 56, 256)
    assert outputs["conv3/block2/bn1"] == (28, 28, 512)
    assert outputs["bn"] == (7, 7, 2048)


def test_inner_width_widens_only_the_inside_of_bottlenecks():
    outputs = outputs_of(create(depth=50, inner_width=2.0))
    assert outputs["conv2/block1/conv1"][-1] == outputs["conv2/block1/conv2"][-1] == 128
    assert outputs["conv2/block1/conv3"][-1] == 256
    assert outputs["conv5/block3/conv2"][-1] == 1024


def test_width_leaves_the_first_convolution_at_64():
    outputs = outputs_of(create(depth=18, width=1.5))
    assert outputs["conv1"][-1] == 64
    assert outputs["conv2/block1/conv1"][-1] == 96


def test_zero_init_gamma_zeroes_the_last_batch_norm_of_each_unit_only():
    zeroed = set()

    def note(call, arguments, keywords, context):
        module = context.module
        if isinstance(module, BatchNorm) and context.method_name == "__call__":
            if module.scale_init is nn.initializers.zeros:
                zeroed.add("/".join(module.path))
            else:
                assert module.scale_init is nn.initializers.ones
        return call(*arguments, **keywords)

    with nn.intercept_methods(note):
        names = names_of(create(depth=50, zero_init_gamma=True))
    assert zeroed == {name for name in names if name.endswith("/bn3")}
    assert len(zeroed) == 16


@pytest.mark.parametrize("ceil_pool,side", [(False, 29), (True, 28)])
def test_max_pool_is_padded_as_in_torch_or_cut_off_as_in_caffe(ceil_pool, side):
    rows = layers_of(create(ceil_pool=ceil_pool, **SMALL), (113, 113, 3))
    assert next(row for row in rows if row.name.startswith("conv2")).output_shape[:2] == (
        side,
        side,
    )


def test_conv1_bias_is_the_only_bias_before_a_batch_norm():
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    model = create(conv1_bias=True, **SMALL)
    params = eval_shape(model.init, jax.random.key(0), image)["params"]
    biased = {path[0] for path in flatten_dict(params) if path[-1] == "bias" and len(path) == 2}
    assert biased == {"conv1", "bn1", "fc"}
    assert "bias" not in params["conv2"]["block1"]["conv1"]


@pytest.mark.parametrize("options", [{}, {"preactivation": True}, {"residual": False}])
@pytest.mark.parametrize("size", [(1, 1), (33, 50), (320, 256)])
def test_images_of_any_size(size, options):
    image = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    model = create(7, **SMALL, **options)
    logits, _ = eval_shape(model.init_with_output, jax.random.key(0), image)
    assert (logits.shape, logits.dtype) == ((2, 7), jnp.float32)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("options", [{"depth": 101}, {"depth": 50, "preactivation": True}])
def test_every_batch_norm_is_told_of_training(train, options):
    told = {}

    def note(call, arguments, keywords, context):
        if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
            told["/".join(context.module.path)] = arguments[1]
        return call(*arguments, **keywords)

    model = create(**options)
    image = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = eval_shape(model.init, jax.random.key(0), image)
    with nn.intercept_methods(note):
        eval_shape(
            lambda v, x: model.apply(v, x, train=train, mutable=["batch_stats"]), variables, image
        )
    assert told == {name: train for name in names_of(model) if "bn" in name}


# --- initial values ----------------------------------------------------------------------------


@pytest.mark.parametrize("init_fan", ["in", "out"])
def test_initial_deviations(init_fan):
    initializers = {}

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if isinstance(context.module, nn.Conv | nn.Dense) and context.method_name == "__call__":
            kernel = context.module.variables["params"]["kernel"]
            initializers["/".join(context.module.path)] = context.module.kernel_init, kernel.shape
        return output

    with nn.intercept_methods(note):
        names_of(create(10, depth=18, width=0.5, init_fan=init_fan))
    assert len(initializers) == 22
    for name in ("conv1", "conv3/block1/conv1", "conv3/block1/shortcut", "fc"):
        initializer, shape = initializers[name]
        channels = shape[-2] if init_fan == "in" else shape[-1]
        expected = math.sqrt(2 / (math.prod(shape[:-2]) * channels))
        if name == "fc" and init_fan == "out":
            expected = 1 / math.sqrt(3 * shape[0])  # uniform, Torch's default
        drawn = initializer(jax.random.key(0), shape)
        assert abs(drawn.std() / expected - 1) < 4 / math.sqrt(2 * drawn.size)


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 51}, "unknown depth .* choose from: 18, 34, 50, 101, 152, 200"),
        ({"shortcut": "average"}, "unknown shortcut"),
        ({"stride_in": "2x2"}, "choose from: 1x1, 3x3"),
        ({"init_fan": "fan"}, "unknown init_fan"),
        ({"width": 0.0}, "at least 1/64"),
        ({"depth": 18, "inner_width": 2.0}, "use width"),
        ({"depth": 18, "groups": 32}, "groups 32"),
        ({"groups": 0}, "groups 0"),
        ({"groups": 33}, "64, 128, 256, 512, do not divide into 33"),
        ({"depth": 18, "width": 0.5, "shortcut": "A"}, "adds channels"),
        ({"residual": False}, "depth 18 or 34"),
        ({"depth": 18, "residual": False, "preactivation": True}, "no preactivation"),
        ({"preactivation": True, "zero_init_gamma": True}, "preactivation=False"),
        ({"order": "BN after addition", "zero_init_gamma": True}, "order='original'"),
        ({"order": "preactivation"}, "unknown order .* full pre-activation"),
        ({"preactivation": True, "order": "BN after addition"}, "leave out 'BN"),
        ({"depth": 18, "residual": False, "order": "BN after addition"}, "no other order"),
        ({"death_rate": 1.0}, r"death_rate 1.0 is not in \[0, 1\)"),
    ],
)
def test_wrong_options_are_told_in_one_line(options, message):
    with pytest.raises(UserError, match=message) as raised:
        ResNet(num_classes=10, **options)
    assert "\n" not in str(raised.value)


def test_too_small_an_image_for_the_ceil_pool_is_told():
    image = jax.ShapeDtypeStruct((1, 2, 2, 3), jnp.float32)
    with pytest.raises(UserError, match="the smallest are 3x3"):
        eval_shape(create(ceil_pool=True, **SMALL).init, jax.random.key(0), image)
