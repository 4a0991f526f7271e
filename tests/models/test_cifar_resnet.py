"""CIFAR ResNet is the network of He et al. (2016), section 4.2, and of its ablations."""

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
from cnn_jax.models.cifar_resnet import CifarResNet
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.residual_units import ResidualUnit
from experiments.preactivation import published as preactivation
from experiments.resnet import published as resnet
from experiments.stochastic_depth import published as stochastic_depth

IMAGE = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)


def create(num_classes=10, **options):
    return models.create("cifar_resnet", num_classes=num_classes, **options)


def shapes(model):
    return eval_shape(model.init, jax.random.key(0), IMAGE)["params"]


def parameters(model):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes(model)))


def preactivated(depth, num_classes=10):
    block = "basic" if depth == 110 else "bottleneck"
    return create(num_classes, depth=depth, block=block, order="full pre-activation")


# --- the papers' tables ------------------------------------------------------------------------


@pytest.mark.parametrize("depth", resnet.CIFAR_COUNTED)
def test_parameters_are_those_of_table_6(depth):
    count = parameters(create(depth=depth))
    printed = resnet.TABLE_6[f"ResNet-{depth}"]["parameters"] / 1e6
    assert count == resnet.CIFAR_COUNTED[depth]["parameters"]
    assert round(count / 1e6, 2 if printed < 1 else 1) == printed


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_multiply_adds_are_exact(depth):
    count = sum(layer.multiply_adds for layer in layers_of(create(depth=depth), (32, 32, 3)))
    assert round(count / 1e6, 1) == resnet.CIFAR_COUNTED[depth]["multiply_adds"]


def test_multiply_adds_at_1202_layers_follow_from_two_shallower_networks():
    # Each three units more (one a stage) cost the same.
    first, second = (
        sum(layer.multiply_adds for layer in layers_of(create(depth=depth), (32, 32, 3)))
        for depth in (20, 26)
    )
    count = first + (second - first) * (1202 - 20) // 6
    assert round(count / 1e6) == resnet.CIFAR_COUNTED[1202]["multiply_adds"]


@pytest.mark.parametrize("depth", resnet.CIFAR_COUNTED_B)
def test_parameters_with_shortcut_b(depth):
    assert parameters(create(depth=depth, shortcut="B")) == resnet.CIFAR_COUNTED_B[depth]


@pytest.mark.parametrize("depth", resnet.CIFAR_COUNTED_100_CLASSES)
def test_parameters_with_100_classes(depth):
    assert parameters(create(100, depth=depth)) == resnet.CIFAR_COUNTED_100_CLASSES[depth]


def test_plain_network_has_as_many_parameters():
    assert parameters(create(depth=20, residual=False)) == parameters(create(depth=20))


@pytest.mark.parametrize(("depth", "num_classes"), preactivation.COUNTED)
def test_parameters_with_preactivation(depth, num_classes):
    expected = preactivation.COUNTED[depth, num_classes]
    assert parameters(preactivated(depth, num_classes)) == expected


def test_output_shapes_are_those_of_section_4_2():
    outputs = {layer.name: layer.output_shape for layer in layers_of(create(), (32, 32, 3))}
    assert outputs["conv1"] == (32, 32, 16)
    for i in (1, 2, 3):
        for conv in ("conv1", "conv2"):
            assert outputs[f"conv2/block{i}/{conv}"] == (32, 32, 16)
            assert outputs[f"conv3/block{i}/{conv}"] == (16, 16, 32)
            assert outputs[f"conv4/block{i}/{conv}"] == (8, 8, 64)
    assert outputs["fc"] == (10,)


def test_depth_counts_convolutions_and_the_linear_layer():
    for options in [
        {"depth": 20},
        {"depth": 29, "block": "bottleneck", "shortcut": "A"},
        {"depth": 14, "block": "single"},
    ]:
        kinds = [layer.kind for layer in layers_of(create(**options), (32, 32, 3))]
        assert len(kinds) - kinds.count("BatchNorm") == options["depth"]


def test_bottlenecks_are_16_16_64_and_double_with_each_stage():
    layers = layers_of(create(depth=11, block="bottleneck"), (32, 32, 3))
    kernels = {layer.name: layer.kernel_shape for layer in layers}
    for stage, inner, before in [("conv2", 16, 16), ("conv3", 32, 64), ("conv4", 64, 128)]:
        assert kernels[f"{stage}/block1/conv1"] == (1, 1, before, inner)
        assert kernels[f"{stage}/block1/conv2"] == (3, 3, inner, inner)
        assert kernels[f"{stage}/block1/conv3"] == (1, 1, inner, 4 * inner)
        assert kernels[f"{stage}/block1/shortcut"] == (1, 1, before, 4 * inner)


def test_names_of_the_default_network_stay():
    paths = {"/".join(path[:-1]) for path in flatten_dict(shapes(create(depth=14)))}
    units = {f"conv{s}/block{i}/{x}{j}" for s in (2, 3, 4) for i in (1, 2) for x in ("conv", "bn")
             for j in (1, 2)}  # fmt: skip
    assert paths == {"conv1", "bn1", "fc"} | units


def test_preactivated_network_activates_after_conv1_and_after_the_last_addition():
    names = {"/".join(path[:-1]) for path in flatten_dict(shapes(preactivated(110)))}
    assert {"bn1", "bn", "conv3/block1/bn1"} <= names
    assert "conv2/block1/bn1" not in names


def test_shortcut_c_projects_in_every_unit():
    names = {"/".join(path) for path in flatten_dict(shapes(create(depth=14, shortcut="C")))}
    for stage in ("conv2", "conv3", "conv4"):
        for block in ("block1", "block2"):
            assert f"{stage}/{block}/shortcut/kernel" in names


@pytest.mark.parametrize("size", [(1, 1), (13, 7), (64, 64)])
@pytest.mark.parametrize("shortcut", ["A", "B", "average"])
def test_images_of_any_size(size, shortcut):
    model = create(depth=8, shortcut=shortcut)
    image = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    logits, _ = eval_shape(model.init_with_output, jax.random.key(0), image)
    assert (logits.shape, logits.dtype) == ((2, 10), jnp.float32)


@pytest.mark.parametrize("order", preactivation.TABLE_2)
def test_bfloat16_stays_bfloat16_between_the_units(order):
    model = create(depth=8, order=order, dtype="bfloat16", death_rate=0.5, gating="exclusive")
    dtypes = set()

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if isinstance(context.module, ResidualUnit) and context.method_name == "__call__":
            dtypes.add(output.dtype)
        return output

    with nn.intercept_methods(note):
        logits, _ = eval_shape(model.init_with_output, jax.random.key(0), IMAGE)
    assert dtypes == {jnp.dtype("bfloat16")}
    assert logits.dtype == jnp.float32


def test_survival_decays_linearly_and_leaves_the_expected_depth_of_the_paper():
    survival = []

    def note(call, arguments, keywords, context):
        if isinstance(context.module, ResidualUnit) and context.method_name == "__call__":
            survival.append(float(arguments[2]))
        return call(*arguments, **keywords)

    model = create(depth=110, death_rate=0.5, unroll=True)
    with jax.ensure_compile_time_eval(), nn.intercept_methods(note):
        shapes(model)
    np.testing.assert_allclose(survival, 1 - 0.5 * np.arange(1, 55) / 54, rtol=1e-6)
    np.testing.assert_allclose(sum(survival), stochastic_depth.EXPECTED_UNITS[54], rtol=1e-6)


@pytest.mark.slow
def test_training_step_of_1202_layers_compiles():
    model = create(depth=1202)
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = eval_shape(model.init, jax.random.key(0), x)

    def loss(variables, x):
        return model.apply(variables, x, train=True, mutable=["batch_stats"])[0].sum()

    compiled = jax.jit(jax.grad(loss)).lower(variables, x).compile()
    assert compiled.cost_analysis() is not None


# --- initial values and mistakes ---------------------------------------------------------------


@pytest.mark.parametrize(("init_fan", "fan_channels"), [("in", 2), ("out", 3)])
def test_convolutions_start_with_he_variance(init_fan, fan_channels):
    initializers = {}

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if isinstance(context.module, nn.Conv) and context.method_name == "__call__":
            shape = context.module.variables["params"]["kernel"].shape
            initializers["/".join(context.module.path)] = (context.module.kernel_init, shape)
        return output

    with nn.intercept_methods(note):
        shapes(create(depth=8, shortcut="B", init_fan=init_fan))
    assert len(initializers) == 1 + 2 * 3 + 2
    for name in ("conv1", "conv3/block1/shortcut", "conv4/block1/conv1"):
        initializer, shape = initializers[name]
        expected = math.sqrt(2 / (shape[0] * shape[1] * shape[fan_channels]))
        drawn = initializer(jax.random.key(0), shape)
        assert abs(drawn.std() / expected - 1) < 4 / math.sqrt(2 * drawn.size)
        assert abs(drawn.mean()) < 4 * expected / math.sqrt(drawn.size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 21}, "not 6n"),
        ({"depth": 2}, "not 6n"),
        ({"depth": 32, "block": "bottleneck"}, "not 9n"),
        ({"block": "basics"}, "did you mean 'basic'"),
        ({"order": "pre-activation"}, "unknown order"),
        ({"shortcut": "D"}, "unknown shortcut"),
        ({"gating": "inclusive"}, "did you mean 'exclusive'"),
        ({"init_fan": "both"}, "unknown init_fan"),
        ({"death_rate": 1.0}, "death_rate 1.0"),
        ({"shortcut_dropout": -0.1}, "shortcut_dropout -0.1"),
        ({"residual": False, "death_rate": 0.5}, "no death_rate"),
        ({"residual": False, "order": "full pre-activation"}, "no order"),
        ({"residual": False, "shortcut": "B"}, "no shortcut"),
    ],
)
def test_wrong_options_are_told_in_one_line(options, message):
    with pytest.raises(UserError, match=message) as raised:
        CifarResNet(num_classes=10, **options)
    assert "\n" not in str(raised.value)
