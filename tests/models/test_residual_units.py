"""A residual unit is what the tables of arXiv:1603.05027 and 1603.09382 say."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.residual_units import ORDERS, ResidualUnit, shortcut_average, survival
from experiments.preactivation import published as preactivation


def noise(key, *shape):
    return jax.random.normal(jax.random.key(key), shape)


def filled(model, *arguments):
    """Variables as after some training, without the time that compiling an initialization takes."""
    shapes = eval_shape(lambda: model.init(jax.random.key(0), *arguments))
    generator = np.random.default_rng(5)

    def fill(path, leaf):
        if path[-1].key == "kernel":
            deviation = math.sqrt(2 / math.prod(leaf.shape[:-1]))
            return jnp.float32(generator.normal(0, deviation, leaf.shape))
        start = 1.0 if path[-1].key in ("scale", "var") else 0.0
        return jnp.float32(start + 0.1 * abs(generator.normal(size=leaf.shape)))

    return jax.tree_util.tree_map_with_path(fill, shapes)


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


@pytest.mark.parametrize(
    ("options", "skip", "branch"),
    [
        ({"shortcut_scale": 0.0}, lambda g: 0, lambda g: 1),
        ({"shortcut_scale": 0.5}, lambda g: 0.5, lambda g: 1),
        ({"shortcut_scale": 0.5, "residual_scale": 0.5}, lambda g: 0.5, lambda g: 0.5),
        ({"gating": "exclusive", "gate_bias": -6.0}, lambda g: 1 - g, lambda g: g),
        ({"gating": "exclusive", "gate_bias": -7.0}, lambda g: 1 - g, lambda g: g),
        ({"gating": "shortcut-only"}, lambda g: 1 - g, lambda g: 1),
        ({"gating": "shortcut-only", "gate_bias": -6.0}, lambda g: 1 - g, lambda g: 1),
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


def test_1x1_conv_shortcut_of_table_1_also_projects_where_nothing_changes():
    x = noise(1, 2, 6, 6, 4)
    unit = unit_of(shortcut="C")
    variables, conv, norm = parts(unit, x)
    f = norm("bn2", conv("conv2", nn.relu(norm("bn1", conv("conv1", x)))))
    expected = nn.relu(norm("shortcut_bn", conv("shortcut", x)) + f)
    np.testing.assert_allclose(unit.apply(variables, x, False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("order", "shortcut_bn"), [("original", False), ("BN after addition", True)]
)
def test_projection_without_a_batch_norm(order, shortcut_bn):
    x = noise(1, 2, 6, 6, 4)
    unit = unit_of(stride=2, channels=8, shortcut="B", order=order, shortcut_bn=shortcut_bn)
    variables, conv, norm = parts(unit, x)
    branch, skip = conv("conv2", nn.relu(norm("bn1", conv("conv1", x)))), conv("shortcut", x)
    before = order == "original"
    y = norm("bn2", branch) + skip if before else norm("bn2", branch + skip)
    np.testing.assert_allclose(unit.apply(variables, x, False), nn.relu(y), rtol=1e-4, atol=1e-5)


def test_gate_starts_at_its_bias():
    unit = unit_of(gating="exclusive", gate_bias=-6.0)
    params = unit.init(jax.random.key(0), noise(1, 2, 6, 6, 4), False)["params"]
    assert (params["gate"]["bias"] == -6.0).all()


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


# --- stochastic depth --------------------------------------------------------------------------


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


def test_survival_falls_linearly_and_without_a_death_rate_is_not_drawn():
    assert survival(0.0, (3, 8, 36, 3)) == [None] * 4
    stages = survival(0.5, (3, 8, 36, 3))
    assert [len(stage) for stage in stages] == [3, 8, 36, 3]
    assert float(stages[0][0]) == pytest.approx(0.99) and float(stages[-1][-1]) == 0.5
