"""Weight sharing: k-means per layer (Han et al. 2016, section 3), deterministic."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from cnn_jax import errors
from cnn_jax.compression.archive import Codebook, codebook

INITIALISATIONS = ("linear", "random", "density")
ITERATIONS = 50


def share(
    weights: np.ndarray, bits: int, initialization: str = "linear", seed: int = 0
) -> Codebook:
    """The weights that are not 0 share 2^bits - 1 values; 0, the pruned ones, is one more.

    Args:
      weights: of any shape.
      bits: of a code, at least 1.
      initialization: of the centroids (section 3.2): "linear" between the smallest and the largest
        weight, "random" weights (Forgy), or of equal "density" of weights between them.
      seed: of "random".
    """
    if not 1 <= bits <= 16:
        raise errors.UserError(f"codes of {bits} bits; they have 1 to 16", 2)
    weights = np.asarray(weights, np.float32)
    shared = weights.copy()
    kept = weights != 0
    if kept.any():
        shared[kept] = kmeans(weights[kept], 2**bits - 1, initialization, seed)
    return codebook(shared)


def kmeans(values: np.ndarray, count: int, initialization: str, seed: int) -> np.ndarray:
    """Each of the values [n], replaced by the mean of its cluster; at most `count` clusters."""
    order = np.argsort(values, kind="stable")
    ordered = values[order].astype(np.float64)
    if initialization == "linear":
        centroids = np.linspace(ordered[0], ordered[-1], count)
    elif initialization == "random":
        centroids = np.sort(np.random.default_rng(seed).choice(ordered, count))
    elif initialization == "density":
        centroids = np.quantile(ordered, (np.arange(count) + 0.5) / count)
    else:
        raise errors.unknown("initialization", initialization, INITIALISATIONS)
    sums = np.append(0, np.cumsum(ordered))
    for _ in range(ITERATIONS):
        # Of sorted values a cluster is a stretch, between the middles of neighboring centroids.
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
    """Which weights share a value, in the shape of the params; what is no kernel has one 0."""

    codes: Any


def codes(kernel: np.ndarray) -> np.ndarray:
    """The number of each weight's value, int32 in its shape; 0 is that of the pruned weights."""
    number = np.unique(kernel, return_inverse=True)[1].reshape(kernel.shape) + 1
    return np.where(kernel == 0, 0, number).astype(np.int32)


def tied(bits: int) -> optax.GradientTransformation:
    """Trains values instead of weights: first in the chain of an optimizer.

    The gradient of a value is the sum of those of the weights that have it (section 3.3), so
    that all of them take the same steps and remain equal; pruned weights stay 0.

    Args:
      bits: of the longest code. The codes themselves are put into the state by who knows them.
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
