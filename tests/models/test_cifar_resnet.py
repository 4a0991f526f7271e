import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from cnn_jax import models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.errors import UserError
from cnn_jax.models.cifar_resnet import CifarResNet
from cnn_jax.models.layers import Stage
from cnn_jax.models.residual_units import ORDERS, ResidualUnit, shortcut_average
from experiments.preactivation import published as preactivation
from experiments.resnet import published as resnet
from experiments.stochastic_depth import published as stochastic_depth

IMAGE = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)


def create(num_classes=10, **options):
    return models.create("cifar_resnet", num_classes=num_classes, **options)


def shapes(model):
    return jax.eval_shape(model.init, jax.random.key(0), IMAGE)["params"]


def parameters(model):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes(model)))


def preactivated(depth, num_classes=10):
    block = "basic" if depth == 110 else "bottleneck"
    return create(num_classes, depth=depth, block=block, order="full pre-activation")


def noise(key, *shape):
    return jax.random.normal(jax.random.key(key), shape)


def filled(model, *arguments):
    """Variables as after some training, without the time that compiling an initialisation takes."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), *arguments))
    generator = np.random.default_rng(5)

    def fill(path, leaf):
        if path[-1].key == "kernel":
            deviation = math.sqrt(2 / math.prod(leaf.shape[:-1]))
            return jnp.float32(generator.normal(0, deviation, leaf.shape))
        start = 1.0 if path[-1].key in ("scale", "var") else 0.0
        return jnp.float32(start + 0.1 * abs(generator.normal(size=leaf.shape)))

    return jax.tree_util.tree_map_with_path(fill, shapes)


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


# --- units, written out ------------------------------------------------------------------------


def parts(unit, x):
    """The unit's variables, and its layers as functions in test mode."""
    variables = filled(unit, x, False)
    params, stats = variables["params"], variables["batch_stats"]

    def conv(name, x):
        kernel = params[name]["kernel"]
        stride = unit.stride if name in ("conv1", "shortcut", "gate") else 1
        low = kernel.shape[0] // 2
        dims = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), [(low, low)] * 2, dimension_numbers=dims
        )
        return y + params[name].get("bias", 0.0)

    def norm(name, x):
        scale = params[name]["scale"] / jnp.sqrt(stats[name]["var"] + 1e-5)
        return (x - stats[name]["mean"]) * scale + params[name]["bias"]

    return variables, conv, norm


def unit_of(stride=1, channels=4, **options):
    return ResidualUnit(kernels=(3, 3), inner=channels, channels=channels, stride=stride, **options)


@pytest.mark.parametrize("order", preactivation.TABLE_2)
def test_unit_of_table_2_is_figure_4(order):
    x = noise(1, 2, 6, 6, 4)
    unit = unit_of(order=order)
    variables, conv, norm = parts(unit, x)
    c1, c2 = (lambda x: conv("conv1", x)), (lambda x: conv("conv2", x))
    b1, b2 = (lambda x: norm("bn1", x)), (lambda x: norm("bn2", x))
    r = nn.relu
    expected = {
        "original": lambda: r(x + b2(c2(r(b1(c1(x)))))),
        "BN after addition": lambda: r(b2(x + c2(r(b1(c1(x)))))),
        "ReLU before addition": lambda: x + r(b2(c2(r(b1(c1(x)))))),
        "ReLU-only pre-activation": lambda: x + b2(c2(r(b1(c1(r(x)))))),
        "full pre-activation": lambda: x + c2(r(b2(c1(r(b1(x)))))),
    }[order]()
    np.testing.assert_allclose(unit.apply(variables, x, False), expected, rtol=1e-4, atol=1e-5)


def test_orders_are_the_rows_of_table_2():
    assert list(ORDERS) == list(preactivation.TABLE_2)


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_preactivated_unit_that_changes_dimensions_activates_before_the_split(shortcut):
    x = noise(1, 2, 6, 6, 4)
    unit = unit_of(stride=2, channels=8, order="full pre-activation", shortcut=shortcut)
    variables, conv, norm = parts(unit, x)
    active = nn.relu(norm("bn1", x))
    branch = conv("conv2", nn.relu(norm("bn2", conv("conv1", active))))
    padded = jnp.concatenate([active[:, ::2, ::2], jnp.zeros((2, 3, 3, 4))], -1)
    expected = branch + (conv("shortcut", active) if shortcut == "B" else padded)
    np.testing.assert_allclose(unit.apply(variables, x, False), expected, rtol=1e-4, atol=1e-5)
    assert "shortcut_bn" not in variables["params"]


def test_preactivated_network_activates_after_conv1_and_after_the_last_addition():
    names = {"/".join(path[:-1]) for path in flatten_dict(shapes(preactivated(110)))}
    assert {"bn1", "bn", "conv3/block1/bn1"} <= names
    assert "conv2/block1/bn1" not in names


@pytest.mark.parametrize(
    ("options", "skip", "branch"),
    [
        ({"shortcut_scale": 0.5}, lambda g: 0.5, lambda g: 1),
        ({"shortcut_scale": 0.5, "residual_scale": 0.5}, lambda g: 0.5, lambda g: 0.5),
        ({"gating": "exclusive", "gate_bias": -6.0}, lambda g: 1 - g, lambda g: g),
        ({"gating": "shortcut-only"}, lambda g: 1 - g, lambda g: 1),
        ({"shortcut_dropout": 0.5}, lambda g: 0.5, lambda g: 1),
    ],
)
def test_unit_of_table_1(options, skip, branch):
    x = noise(1, 2, 6, 6, 4)
    unit = unit_of(**options)
    variables, conv, norm = parts(unit, x)
    f = norm("bn2", conv("conv2", nn.relu(norm("bn1", conv("conv1", x)))))
    g = nn.sigmoid(conv("gate", x)) if "gating" in options else None
    expected = nn.relu(skip(g) * x + branch(g) * f)
    np.testing.assert_allclose(unit.apply(variables, x, False), expected, rtol=1e-4, atol=1e-5)


def test_gate_starts_at_its_bias():
    unit = unit_of(gating="exclusive", gate_bias=-6.0)
    params = unit.init(jax.random.key(0), noise(1, 2, 6, 6, 4), False)["params"]
    assert (params["gate"]["bias"] == -6.0).all()


def test_shortcut_c_projects_in_every_unit():
    names = {"/".join(path) for path in flatten_dict(shapes(create(depth=14, shortcut="C")))}
    for stage in ("conv2", "conv3", "conv4"):
        for block in ("block1", "block2"):
            assert f"{stage}/{block}/shortcut/kernel" in names


def test_dropped_shortcut_is_there_or_not_without_rescaling():
    x = jnp.abs(noise(1, 2, 6, 6, 4)) + 0.1
    unit = unit_of(shortcut_dropout=0.5, residual_scale=0.0)
    variables = filled(unit, x, False)
    y, _ = unit.apply(
        variables, x, True, rngs={"dropout": jax.random.key(1)}, mutable=["batch_stats"]
    )
    kept = y > 0
    np.testing.assert_allclose(y[kept], x[kept], rtol=1e-6)
    assert 0.3 < kept.mean() < 0.7


def test_plain_unit_has_no_shortcut():
    x = noise(1, 2, 6, 6, 4)
    unit = unit_of(residual=False)
    variables, conv, norm = parts(unit, x)
    expected = nn.relu(norm("bn2", conv("conv2", nn.relu(norm("bn1", conv("conv1", x))))))
    np.testing.assert_allclose(unit.apply(variables, x, False), expected, rtol=1e-4, atol=1e-5)


def test_average_shortcut_averages_and_appends_zeros_also_at_odd_sizes():
    x = noise(1, 2, 5, 4, 3)
    y = shortcut_average(x, 5, 2)
    assert y.shape == (2, 3, 2, 5)
    np.testing.assert_allclose(y[:, 0, 0, :3], x[:, :2, :2].mean((1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y[:, 2, 0, :3], x[:, 4, :2].mean(1), rtol=1e-5, atol=1e-6)
    assert (y[..., 3:] == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (13, 7), (64, 64)])
@pytest.mark.parametrize("shortcut", ["A", "B", "average"])
def test_images_of_any_size(size, shortcut):
    model = create(depth=8, shortcut=shortcut)
    image = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    logits, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
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
        logits, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), IMAGE)
    assert dtypes == {jnp.dtype("bfloat16")}
    assert logits.dtype == jnp.float32


# --- stochastic depth --------------------------------------------------------------------------


def single(**options):
    return ResidualUnit(kernels=(3,), inner=4, channels=4, **options)


def train_unit(unit, variables, x, survival, key=0):
    return unit.apply(
        variables, x, True, survival, rngs={"dropout": jax.random.key(key)}, mutable=["batch_stats"]
    )


def test_closed_unit_is_its_shortcut_and_keeps_its_statistics():
    x = noise(1, 2, 6, 6, 4)
    unit = unit_of(stride=2, channels=8, shortcut="average")
    variables = filled(unit, x, False)
    y, updated = train_unit(unit, variables, x, 0.0)
    np.testing.assert_allclose(y, nn.relu(shortcut_average(x, 8, 2)), rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], variables["batch_stats"])


def test_open_unit_is_the_ordinary_unit_and_updates_its_statistics():
    x = noise(1, 2, 6, 6, 4)
    unit = unit_of()
    variables = filled(unit, x, False)
    y, updated = train_unit(unit, variables, x, 1.0)
    expected, expected_updated = train_unit(unit, variables, x, None)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        updated,
        expected_updated,
    )
    assert (updated["batch_stats"]["bn1"]["mean"] != 0).all()


def test_unit_is_open_as_often_as_its_probability_says():
    x = noise(1, 2, 2, 2, 4)
    unit = unit_of()
    variables = filled(unit, x, False)
    closed = train_unit(unit, variables, x, 0.0)[0]
    step = jax.jit(lambda key: train_unit(unit, variables, x, 0.8, key)[0])
    steps = [step(key) for key in range(300)]
    opened = np.mean([not np.array_equal(y, closed) for y in steps])
    assert abs(opened - 0.8) < 0.08


def test_in_test_mode_the_branch_is_scaled_by_its_survival_probability():
    x = noise(1, 2, 6, 6, 4)
    unit = unit_of()
    variables, conv, norm = parts(unit, x)
    f = norm("bn2", conv("conv2", nn.relu(norm("bn1", conv("conv1", x)))))
    y = unit.apply(variables, x, False, 0.7)
    np.testing.assert_allclose(y, nn.relu(x + 0.7 * f), rtol=1e-4, atol=1e-5)


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


def test_in_a_scanned_stage_each_unit_has_a_gate_of_its_own():
    stage = Stage(single, count=9, stride=1, unroll=False)
    x = noise(1, 2, 4, 4, 4)
    survival = jnp.linspace(0.9, 0.1, 9)
    variables = filled(stage, x, False, survival)

    @jax.jit
    def step(key):
        def loss(params):
            y, updated = stage.apply(
                {**variables, "params": params},
                x,
                True,
                survival,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            return jnp.square(y).mean(), updated["batch_stats"]["blocks"]

        gradients, statistics = jax.grad(loss, has_aux=True)(variables["params"])
        kernels = gradients["blocks"]["conv1"]["kernel"]
        old = variables["batch_stats"]["blocks"]["bn1"]["mean"]
        return (kernels != 0).any((1, 2, 3, 4)), (statistics["bn1"]["mean"] != old).any(1)

    used, updated = map(np.array, zip(*(step(jax.random.key(i)) for i in range(200)), strict=True))
    np.testing.assert_array_equal(used, updated)
    np.testing.assert_allclose(used.mean(0), survival[1:], atol=0.12)


# --- a stage as one scan -----------------------------------------------------------------------


def restacked(tree):
    """Variables of `unroll` in the form of the scan: block2, block3, ... stacked in `blocks`."""
    flat = flatten_dict(tree)
    stacked = {}
    for path, leaf in flat.items():
        # The blocks of a stage follow its name, where the tree is that of a network.
        depth = next((i for i, name in enumerate(path) if name.startswith("block")), None)
        if depth is None or path[depth] == "block1":
            stacked[path] = leaf
        elif path[depth] == "block2":
            before, after = path[:depth], path[depth + 1 :]
            count = sum(p[:depth] == before and p[depth + 1 :] == after for p in flat)
            leaves = [flat[*before, f"block{i}", *after] for i in range(2, count + 1)]
            stacked[*before, "blocks", *after] = jnp.stack(leaves)
    return unflatten_dict(stacked)


def outcome(model, variables, *arguments):
    """Gradients, outputs and new statistics of one training step."""

    def loss(params):
        y, updated = model.apply(
            {**variables, "params": params}, *arguments, mutable=["batch_stats"]
        )
        return jnp.square(y).mean(), {"outputs": y, "statistics": updated["batch_stats"]}

    gradients, results = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    return {"gradients": gradients, **results}


TREES = ("gradients", "statistics")


def assert_agree(scanned, unrolled, tolerance):
    def compare(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(jnp.abs(b).max()))

    jax.tree.map(compare, scanned, {**unrolled, **{k: restacked(unrolled[k]) for k in TREES}})


def test_scanned_and_unrolled_stages_agree_in_outputs_statistics_and_gradients():
    x = noise(1, 2, 6, 6, 4)
    unrolled, scanned = (Stage(single, count=9, stride=2, unroll=u) for u in (True, False))
    variables = filled(unrolled, x, False)
    stacked = {name: restacked(tree) for name, tree in variables.items()}
    assert stacked["params"]["blocks"]["conv1"]["kernel"].shape == (8, 3, 3, 4, 4)
    results = outcome(scanned, stacked, x, True)
    assert_agree(results, outcome(unrolled, variables, x, True), 1e-4)


@pytest.mark.slow
def test_scanned_and_unrolled_resnet_56_agree_in_logits_statistics_and_gradients():
    x = noise(1, 16, 16, 16, 3)
    unrolled, scanned = create(depth=56, unroll=True), create(depth=56)
    variables = filled(unrolled, x)
    stacked = {name: restacked(tree) for name, tree in variables.items()}
    assert stacked["params"]["conv4"]["blocks"]["conv1"]["kernel"].shape == (8, 3, 3, 64, 64)
    results = outcome(scanned, stacked, x, True)
    assert_agree(results, outcome(unrolled, variables, x, True), 1e-3)


@pytest.mark.slow
def test_training_step_of_1202_layers_compiles():
    model = create(depth=1202)
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)

    def loss(variables, x):
        return model.apply(variables, x, train=True, mutable=["batch_stats"])[0].sum()

    compiled = jax.jit(jax.grad(loss)).lower(variables, x).compile()
    assert compiled.cost_analysis() is not None


# --- initial values and mistakes ---------------------------------------------------------------


@pytest.mark.parametrize(("init_fan", "fan_channels"), [("in", 2), ("out", 3)])
def test_convolutions_start_with_he_variance(init_fan, fan_channels):
    initialisers = {}

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if isinstance(context.module, nn.Conv) and context.method_name == "__call__":
            shape = context.module.variables["params"]["kernel"].shape
            initialisers["/".join(context.module.path)] = (context.module.kernel_init, shape)
        return output

    with nn.intercept_methods(note):
        shapes(create(depth=8, shortcut="B", init_fan=init_fan))
    assert len(initialisers) == 1 + 2 * 3 + 2
    for name in ("conv1", "conv3/block1/shortcut", "conv4/block1/conv1"):
        initialiser, shape = initialisers[name]
        expected = math.sqrt(2 / (shape[0] * shape[1] * shape[fan_channels]))
        drawn = initialiser(jax.random.key(0), shape)
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
