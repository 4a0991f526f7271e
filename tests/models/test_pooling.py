"""The gradient of max pooling on GPUs is that of XLA, where several pixels are the maximum too."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax.models import pooling
from cnn_jax.training import compiler

WINDOWS = [  # size, window, stride, padding, ceil
    (9, 3, 2, 1, False),
    (8, 3, 2, 0, True),
    (13, 3, 2, 0, True),
    (7, 3, 1, 1, False),
    (8, 2, 2, 0, False),
    (10, 2, 3, 0, False),
]


@pytest.mark.parametrize("size,window,stride,padding,ceil", WINDOWS)
def test_gathered_gradient_of_max_pooling_is_that_of_xla(
    size, window, stride, padding, ceil, monkeypatch
):
    generator = np.random.default_rng(0)
    x = np.round(2 * generator.standard_normal((2, size, size, 3), np.float32))  # with equals
    geometry = []

    def spy(x, *how):
        geometry.append(how)
        return plain(x, *how)

    plain = pooling._plain_maxima
    monkeypatch.setattr(pooling, "_plain_maxima", spy)

    @functools.partial(compiler.jit, once=True)
    def gradients(x):
        y, gradient = jax.vjp(lambda x: pooling.max_pool(x, window, stride, padding, ceil), x)
        dy = jnp.asarray(generator.standard_normal(y.shape, np.float32))
        places = pooling.places_of_maxima(x, y, *geometry[0])
        return pooling.gathered_gradient(x.shape, places, dy, *geometry[0]), gradient(dy)[0]

    ours, theirs = gradients(x)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("platform,scatters", [("cuda", False), ("tpu", True)])
def test_max_pooling_scatters_no_gradient_on_a_gpu(platform, scatters):
    def loss(x):
        return (pooling.max_pool(x, 3, 2, 1) ** 2).sum()

    traced = jax.jit(jax.grad(loss)).trace(jnp.ones((2, 8, 8, 3)))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("select_and_scatter" in text) == scatters
