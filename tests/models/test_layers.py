"""Convolution and batch norm are those of their references."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnn_jax.errors import UserError
from cnn_jax.models import layers
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.training import compiler

CONVOLUTIONS = [  # size, kernel, stride, padding
    (8, 3, 1, ((1, 1), (1, 1))),
    (9, 3, 1, ((1, 1), (1, 1))),
    (9, 4, 1, ((1, 1), (1, 1))),
    (9, 3, 2, ((1, 1), (1, 1))),
    (8, 3, 2, ((1, 1), (1, 1))),
    (9, 1, 2, ((0, 0), (0, 0))),
    (15, 7, 2, ((3, 3), (3, 3))),
    (11, 3, 2, ((0, 0), (0, 0))),
    (12, 5, 3, ((0, 2), (2, 1))),
    (23, 11, 4, ((2, 2), (2, 2))),
    (10, 2, 3, ((0, 0), (0, 0))),
]


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def initial(channels):
    """Variables of a batch norm."""
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    return {"params": {"scale": ones, "bias": zeros}, "batch_stats": {"mean": zeros, "var": ones}}


@pytest.mark.parametrize("size,kernel,stride,padding", CONVOLUTIONS)
def test_gradients_of_the_convolution_are_those_of_lax(size, kernel, stride, padding):
    x, w = normal(2, size, size, 3), normal(kernel, kernel, 3, 4)
    numbers = ("NHWC", "HWIO", "NHWC")

    def ours(x, w):
        y = layers.convolve(x, w, (stride, stride), padding)
        return (jnp.sin(y)).sum()

    def theirs(x, w):
        y = lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=numbers)
        return (jnp.sin(y)).sum()

    @functools.partial(compiler.jit, once=True)
    def gradients(x, w):
        return [jax.grad(loss, (0, 1))(x, w) for loss in (ours, theirs)]

    for a, b in zip(*gradients(x, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_is_flax_batch_norm_with_unbiased_running_variance(train):
    x = 3 + 2 * normal(8, 5, 5, 6)
    ours, theirs = layers.BatchNorm(), nn.BatchNorm(momentum=0.9, use_running_average=not train)
    variables = {
        "params": {"scale": jnp.linspace(0.5, 2, 6), "bias": jnp.linspace(-1, 1, 6)},
        "batch_stats": {"mean": jnp.linspace(2, 4, 6), "var": jnp.linspace(3, 5, 6)},
    }

    def value(module, arguments, x, params):
        y, updates = module.apply(
            variables | {"params": params}, x, *arguments, mutable=["batch_stats"]
        )
        return (jnp.sin(y)).sum(), (y, updates["batch_stats"])

    @functools.partial(compiler.jit, once=True)
    def both(x, params):
        gradient = jax.value_and_grad(value, (2, 3), has_aux=True)
        return gradient(ours, (train,), x, params), gradient(theirs, (), x, params)

    results = both(x, variables["params"])
    ((_, (y, stats)), gradients), ((_, (y_flax, stats_flax)), gradients_flax) = results
    np.testing.assert_allclose(y, y_flax, atol=2e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        gradients,
        gradients_flax,
    )
    np.testing.assert_allclose(stats["mean"], stats_flax["mean"], rtol=1e-5)
    biased = (stats_flax["var"] - 0.9 * variables["batch_stats"]["var"]) / 0.1
    unbiased = biased * 200 / 199 if train else biased
    expected = 0.9 * variables["batch_stats"]["var"] + 0.1 * unbiased
    np.testing.assert_allclose(stats["var"], expected, rtol=1e-4)


@pytest.mark.parametrize("mean", [0.0, 10.0, 1000.0])
def test_moments_are_those_of_float64_where_the_running_mean_is_near(mean):
    x = np.random.default_rng(0).normal(mean, 1.0, (4, 4096, 8)).astype(np.float32)
    near = np.full(8, 0.999 * mean, np.float32)
    found, variance = jax.jit(layers.moments)(x, near)
    np.testing.assert_allclose(found, x.astype(np.float64).mean(1), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(1), rtol=1e-6)


def test_moments_far_from_the_running_mean_lose_digits_by_the_square_of_the_distance():
    x = np.random.default_rng(0).normal(10.0, 1.0, (4, 4096, 8)).astype(np.float32)
    _, variance = jax.jit(layers.moments)(x, np.zeros(8, np.float32))
    np.testing.assert_allclose(variance, x.astype(np.float64).var(1), rtol=3e-7 * (1 + 10**2))
    constant = np.full((1, 100, 8), 1.1, np.float32)
    assert (layers.moments(constant, np.zeros(8, np.float32))[1] >= 0).all()


def test_a_step_on_an_accelerator_has_the_batch_norm_of_a_step_on_a_cpu(monkeypatch):
    x = 3 + 2 * normal(8, 5, 5, 6)
    norm = layers.BatchNorm(group_size=4)
    variables = initial(6)

    def step():
        def loss(params, x):
            y, updates = norm.apply(
                variables | {"params": params}, x, True, mutable=["batch_stats"]
            )
            return jnp.sin(y).sum(), (y, updates)

        gradient = jax.grad(loss, (0, 1), has_aux=True)
        return compiler.jit(gradient, once=True)(variables["params"], x)

    on_cpu = step()
    default = lambda *arrays, cpu, default: default(*arrays)  # noqa: E731
    monkeypatch.setattr(layers.lax, "platform_dependent", default)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), step(), on_cpu)


@pytest.mark.parametrize("layer", [layers.Conv(4, (3, 3), dtype="bfloat16"), layers.Dense(4)])
def test_gradients_of_bfloat16_layers_are_summed_over_devices_in_float32(layer):
    x = jnp.ones((8, 6, 6, 3) if isinstance(layer, nn.Conv) else (8, 3), jnp.bfloat16)
    variables = layer.init(jax.random.key(0), x)

    def loss(variables):
        return layer.apply(variables, x).astype(jnp.float32).sum()

    mesh = jax.sharding.AbstractMesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.sharding.use_abstract_mesh(mesh):
        text = str(jax.make_jaxpr(jax.grad(loss))(variables))
    sums = [line for line in text.splitlines() if "= psum" in line]
    assert sums and all(":f32[" in line.partition("=")[0] for line in sums)


def test_batch_norm_groups_are_normalized_as_batches_of_their_own():
    x = normal(8, 4, 4, 3) * np.arange(1, 9, dtype=np.float32)[:, None, None, None]
    grouped, whole = layers.BatchNorm(group_size=4), layers.BatchNorm()
    variables = initial(3)

    @functools.partial(compiler.jit, once=True)
    def outcomes(x):
        parts = (grouped, x), (whole, x[:4]), (whole, x[4:])
        return [norm.apply(variables, h, True, mutable=["batch_stats"]) for norm, h in parts]

    (y, stats), *halves = jax.tree.map(np.asarray, outcomes(x))
    np.testing.assert_allclose(y, np.concatenate([h[0] for h in halves]), atol=1e-5)
    mean_of_halves = jax.tree.map(lambda a, b: (a + b) / 2, halves[0][1], halves[1][1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), stats, mean_of_halves)


def test_a_batch_that_does_not_divide_into_groups_is_refused():
    with pytest.raises(UserError, match="a batch of 6 does not divide .* groups of 4"):
        layers.BatchNorm(group_size=4).init(jax.random.key(0), jnp.zeros((6, 2, 2, 1)), True)


def test_a_dilated_convolution_is_refused():
    with pytest.raises(UserError, match="kernel_dilation: take nn.Conv"):
        layers.Conv(4, (3, 3), kernel_dilation=2).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


class Unit(nn.Module):
    """A convolution and a batch norm."""

    @nn.compact
    def __call__(self, x):
        return layers.BatchNorm()(layers.Conv(4, (3, 3))(x), True)


@pytest.mark.parametrize("platform,barriers", [("cpu", True), ("cuda", False), ("tpu", False)])
def test_what_only_a_cpu_needs_is_in_programs_for_cpus_alone(platform, barriers):
    x = jnp.ones((2, 8, 8, 3))
    variables = eval_shape(lambda: Unit().init(jax.random.key(0), x))

    def loss(variables):
        y, _ = Unit().apply(variables, x, mutable=["batch_stats"])
        return (y**2).sum()

    traced = jax.jit(jax.grad(loss)).trace(variables)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("optimization_barrier" in text) == barriers


def test_torchs_linear_layer_is_uniform_within_the_root_of_its_fan(monkeypatch):
    monkeypatch.setattr(jax.random, "uniform", lambda *arguments: arguments)
    assert layers.torch_linear("key", (400, 7), "type") == ("key", (400, 7), "type", -0.05, 0.05)
    assert layers.unit_uniform("key", (7,), "type") == ("key", (7,), "type")


def test_a_bias_is_added_in_float32_in_the_type_of_the_layer():
    x = np.ones((2, 3), np.float32)
    params = {"kernel": np.full((3, 2), 2.0, np.float32), "bias": np.float32([0.5, -1])}
    for dtype in ("float32", "bfloat16"):
        y = layers.Dense(2, dtype=dtype).apply({"params": params}, x)
        assert y.tolist() == [[6.5, 5], [6.5, 5]] and y.dtype == dtype
    without = layers.Dense(2, use_bias=False).apply({"params": params}, x)
    assert without.tolist() == [[6, 6], [6, 6]]
