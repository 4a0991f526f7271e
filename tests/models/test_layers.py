"""The one convolution and the one batch norm compute what their references compute."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnn_jax.errors import UserError
from cnn_jax.models import layers
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


@pytest.mark.parametrize("size,kernel,stride,padding", CONVOLUTIONS)
def test_gradients_of_the_convolution_are_those_of_lax(size, kernel, stride, padding):
    x = jax.random.normal(jax.random.key(0), (2, size, size, 3))
    w = jax.random.normal(jax.random.key(1), (kernel, kernel, 3, 4))
    numbers = ("NHWC", "HWIO", "NHWC")

    def ours(x, w):
        y = layers.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=numbers)
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
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (8, 5, 5, 6))
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


def test_batch_norm_groups_are_normalized_as_batches_of_their_own():
    x = jax.random.normal(jax.random.key(0), (8, 4, 4, 3)) * jnp.arange(1, 9.0)[:, None, None, None]
    grouped, whole = layers.BatchNorm(group_size=4), layers.BatchNorm()
    variables = whole.init(jax.random.key(0), x, True)
    y, stats = grouped.apply(variables, x, True, mutable=["batch_stats"])
    halves = [whole.apply(variables, h, True, mutable=["batch_stats"]) for h in (x[:4], x[4:])]
    np.testing.assert_allclose(y, jnp.concatenate([h[0] for h in halves]), atol=1e-5)
    mean_of_halves = jax.tree.map(lambda a, b: (a + b) / 2, halves[0][1], halves[1][1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), stats, mean_of_halves)


def test_a_batch_that_does_not_divide_into_groups_is_refused():
    with pytest.raises(UserError, match="a batch of 6 does not divide .* groups of 4"):
        layers.BatchNorm(group_size=4).init(jax.random.key(0), jnp.zeros((6, 2, 2, 1)), True)


class Unit(nn.Module):
    """A convolution and a batch norm."""

    @nn.compact
    def __call__(self, x):
        return layers.BatchNorm()(layers.Conv(4, (3, 3))(x), True)


@pytest.mark.parametrize("platform,barriers", [("cpu", True), ("cuda", False), ("tpu", False)])
def test_what_only_a_cpu_needs_is_in_programs_for_cpus_alone(platform, barriers):
    x = jnp.ones((2, 8, 8, 3))
    variables = Unit().init(jax.random.key(0), x)

    def loss(params):
        y, _ = Unit().apply(variables | {"params": params}, x, mutable=["batch_stats"])
        return (y**2).sum()

    traced = jax.jit(jax.grad(loss)).trace(variables["params"])
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("optimization_barrier" in text) == barriers
