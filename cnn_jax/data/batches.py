"""In which order the examples come: a function of (seed, epoch), and nothing to save."""

import functools

import numpy as np


@functools.lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """A permutation of `size` examples, int32 [size]."""
    return np.random.default_rng([seed, epoch]).permutation(size).astype(np.int32)


def batch_indices(seed: int, first_step: int, steps: int, batch_size: int, size: int) -> np.ndarray:
    """The examples of `steps` batches from `first_step` on, int32 [steps, batch_size].

    Every epoch is a new permutation; its last, incomplete batch is dropped.
    """
    steps_per_epoch = size // batch_size
    rows = []
    for step in range(first_step, first_step + steps):
        epoch, position = divmod(step, steps_per_epoch)
        order = epoch_order(seed, epoch, size)
        rows.append(order[position * batch_size : (position + 1) * batch_size])
    return np.stack(rows)


def evaluation_batches(size: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every example once: indices int32 [batches, batch_size], and weights, 0 for padding."""
    batches = -(-size // batch_size)
    indices = np.arange(batches * batch_size, dtype=np.int32)
    weights = (indices < size).astype(np.float32)
    shape = (batches, batch_size)
    return np.minimum(indices, size - 1).reshape(shape), weights.reshape(shape)
