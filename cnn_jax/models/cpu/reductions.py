"""Sums and barriers in the form that XLA:CPU runs fast, and exactly enough."""

import math

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array


def sum_rows(x: Array) -> Array:
    """[groups, rows, channels] -> [groups, channels]."""
    # A product with ones is faster than XLA:CPU's reduction; in two stages it loses fewer digits.
    groups, rows, channels = x.shape
    stages = next(n for n in range(math.isqrt(rows), 0, -1) if rows % n == 0)
    x = x.reshape(groups * stages, rows // stages, channels)
    x = jnp.ones((groups * stages, 1, rows // stages), x.dtype) @ x
    x = x.reshape(groups, stages, channels)
    return (jnp.ones((groups, 1, stages), x.dtype) @ x)[:, 0]


def barrier(x: Array) -> Array:
    """`x`, which XLA:CPU does not fuse with what it is computed from."""
    return lax.optimization_barrier(x)
