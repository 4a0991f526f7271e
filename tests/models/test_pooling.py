"""The gradient of max pooling on GPUs is that of XLA, where several pixels are the maximum too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax.models import pooling

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
    x = jnp.round(2 * jax.random.normal(jax.random.key(0), (2, size, size, 3)))  # with equals
    geometry = []

    def spy(x, *how):
        geometry.append(how)
        return plain(x, *how)

    plain = pooling._plain_maxima
    monkeypatch.setattr(pooling, "_plain_maxima", spy)
    y, gradient = jax.vjp(lambda x: pooling.max_pool(x, window, stride, padding, ceil), x)
    dy = jax.random.normal(jax.random.key(1), y.shape)
    places = pooling.places_of_maxima(x, y, *geometry[0])
    ours = pooling.gathered_gradient(x.shape, places, dy, *geometry[0])
    np.testing.assert_allclose(ours, gradient(dy)[0], atol=1e-6)


@pytest.mark.parametrize("platform,scatters", [("cuda", False), ("tpu", True)])
def test_max_pooling_scatters_no_gradient_on_a_gpu(platform, scatters):
    def loss(x):
        return (pooling.max_pool(x, 3, 2, 1) ** 2).sum()

    traced = jax.jit(jax.grad(loss)).trace(jnp.ones((2, 8, 8, 3)))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("select_and_scatter" in text) == scatters
