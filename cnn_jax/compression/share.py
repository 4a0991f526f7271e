"""Weight sharing: deterministic k-means in each layer (Han et al. 2016, section 3)."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from cnn_jax import errors
from cnn_jax.compression.archive import Codebook, codebook

INITIALIZATIONS = ("linear", "random", "density")
ITERATIONS = 50


def share(
    weights: np.ndarray, bits: int, initialization: str = "linear", seed: int = 0
) -> Codebook:
    """Lets the weights that are not 0 share 2^bits - 1 values; pruned weights keep the value 0.

    Args:
      weights: an array of any shape.
      bits: bits of a code, 1 to 16.
      initialization: initial centroids (section 3.2): "linear" from the smallest to the largest
        weight, "random" weights (Forgy), or "density", with as many weights between neighbors.
      seed: seed of "random".
    """
    if not 1 <= bits <= 16:
        raise errors.UserError(f"codes have 1 to 16 bits, not {bits}", 2)
    weights = np.asarray(weights, np.float32)
    shared = weights.copy()
    kept = weights != 0
    if kept.any():
        shared[kept] = kmeans(weights[kept], 2**bits - 1, initialization, seed)
    return codebook(shared)


def kmeans(values: np.ndarray, count: int, initialization: str, seed: int) -> np.ndarray:
    """Replaces each of the values [n] by the mean of its cluster; `count` clusters at most."""
    order = np.argsort(values, kind="stable")
    ordered = values[order].astype(np.float64)
    if initialization == "linear":
        centroids = np.linspace(ordered[0], ordered[-1], count)
    elif initialization == "random":
        centroids = np.sort(np.random.default_rng(seed).choice(ordered, count))
    elif initialization == "density":
        centroids = np.quantile(ordered, (np.arange(count) + 0.5) / count)
    else:
        raise errors.unknown("initialization", initialization, INITIALIZATIONS)
    sums = np.append(0, np.cumsum(ordered))
    for _ in range(ITERATIONS):
        # In sorted order a cluster lies between the midpoints of neighboring centroids.
        inner = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
        limits = np.concatenate([[0], inner, [len(ordered)]])
        sizes = np.diff(limits)
        means = np.diff(sums[limits]) / np.maximum(sizes, 1)
        moved = np.where(sizes > 0, means, centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    shared = np.empty_like(values)
    shared[order] = np.repeat(centroids, sizes)
    return shared


class ShareState(flax.struct.PyTreeNode):
    """The state of `tied`: the code of each weight; other arrays have a single 0."""

    codes: Any


def codes(kernel: np.ndarray) -> np.ndarray:
    """The code of each weight, int32 in the kernel's shape: one for each value, 0 for pruned."""
    number = np.unique(kernel, return_inverse=True)[1].reshape(kernel.shape) + 1
    return np.where(kernel == 0, 0, number).astype(np.int32)


def tied(bits: int) -> optax.GradientTransformation:
    """Trains shared values instead of weights; put it first in an optimizer's chain.

    The gradient of a value is the sum of its weights' gradients (section 3.3), so that these
    weights take the same steps and remain equal; pruned weights stay 0. The caller puts the codes
    of the weights into the state.

    Args:
      bits: bits of the longest code.
    """

    def init(params):
        def nothing_shared(path, values):
            return jnp.zeros(values.shape if path[-1].key == "kernel" else (), jnp.int32)

        return ShareState(jax.tree_util.tree_map_with_path(nothing_shared, params))

    def update(updates, state, params=None):
        del params

        def share(path, gradient, code):
            if path[-1].key != "kernel":
                return gradient
            sums = jax.ops.segment_sum(gradient.reshape(-1), code.reshape(-1), 2**bits + 1)
            return sums.at[0].set(0)[code]

        return jax.tree_util.tree_map_with_path(share, updates, state.codes), state

    return optax.GradientTransformation(init, update)
