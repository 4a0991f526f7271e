"""Pooling, response normalization and batch norm without gamma."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax.models import inception_blocks, layers, pooling
from cnn_jax.models.cpu.xla import eval_shape


@pytest.mark.parametrize(("counts", "corner"), [(False, 1.0), (True, 4 / 9)])
def test_average_pool_at_the_border(counts, corner):
    pooled = pooling.avg_pool(jnp.ones((1, 5, 5, 1)), 3, 1, 1, counts)[0, :, :, 0]
    assert pooled.shape == (5, 5)
    assert float(pooled[0, 0]) == pytest.approx(corner)
    assert float(pooled[2, 2]) == 1.0


def test_batch_norm_without_gamma_is_the_one_with_gamma_one():
    x = jax.random.normal(jax.random.key(0), (4, 3, 3, 5)) * 3 + 1

    def output(use_scale, params, x):
        norm = layers.BatchNorm(use_scale=use_scale)
        variables = norm.init(jax.random.key(0), x, True)
        assert set(variables["params"]) == set(params)
        y, _ = norm.apply(variables | {"params": params}, x, True, mutable=["batch_stats"])
        return (y**3).sum()

    bias = jnp.arange(5.0)
    run = jax.jit(jax.value_and_grad(output, (1, 2)), static_argnums=0)
    without = run(False, {"bias": bias}, x)
    with_ones = run(True, {"bias": bias, "scale": jnp.ones(5)}, x)
    np.testing.assert_allclose(without[0], with_ones[0], rtol=1e-5)
    np.testing.assert_allclose(without[1][0]["bias"], with_ones[1][0]["bias"], rtol=1e-5)
    np.testing.assert_allclose(without[1][1], with_ones[1][1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "ceil", "output"),
    [
        (111, 3, 2, 0, True, 55),  # SqueezeNet v1.0 on 227
        (109, 3, 2, 0, True, 54),
        (54, 3, 2, 0, True, 27),
        (54, 3, 2, 0, False, 26),
        (112, 3, 2, 0, True, 56),  # GoogLeNet
        (4, 2, 2, 1, True, 3),
        (5, 2, 2, 1, True, 3),  # a fourth window would start in the padding
    ],
)
def test_max_pool_gives_caffes_output_sizes(size, window, stride, padding, ceil, output):
    pooled = pooling.max_pool(jnp.zeros((1, size, size, 1)), window, stride, padding, ceil)
    assert pooled.shape == (1, output, output, 1)


def test_max_pool_takes_the_maxima_of_the_windows_inside_the_image():
    x = np.random.default_rng(0).normal(size=(8, 11)) - 5
    for window, stride, padding, ceil in itertools.product([2, 3], [1, 2], [0, 1], [False, True]):
        pooled = pooling.max_pool(jnp.asarray(x)[None, :, :, None], window, stride, padding, ceil)
        for i, j in np.ndindex(pooled.shape[1:3]):
            top, left = i * stride - padding, j * stride - padding
            part = x[max(top, 0) : top + window, max(left, 0) : left + window]
            assert float(pooled[0, i, j, 0]) == pytest.approx(part.max())


def test_response_normalization_sums_the_squares_of_the_neighboring_channels():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 7)) * 10
    expected = np.empty_like(x)
    for c in range(7):
        total = (x[..., max(c - 2, 0) : c + 3] ** 2).sum(-1)
        expected[..., c] = x[..., c] / (2 + 0.01 / 5 * total) ** 0.75
    y = pooling.local_response_norm(jnp.asarray(x, jnp.float32), 5, 0.01, 0.75, 2.0)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


@pytest.mark.parametrize("has_norm", [False, True])
def test_a_unit_has_a_bias_or_a_batch_norm(has_norm):
    norm = functools.partial(layers.BatchNorm, epsilon=0.001) if has_norm else None
    unit = inception_blocks.ConvUnit(4, (1, 3), 2, (0, 1), norm)
    image = jax.ShapeDtypeStruct((1, 9, 7, 2), jnp.float32)
    y, variables = eval_shape(lambda x: unit.init_with_output(jax.random.key(0), x, False), image)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    kernel, four = (1, 3, 2, 4), (4,)
    assert y.shape == (1, 5, 4, 4)
    assert shapes == (
        {"conv": {"kernel": kernel}, "bn": {"scale": four, "bias": four}}
        if has_norm
        else {"conv": {"kernel": kernel, "bias": four}}
    )
