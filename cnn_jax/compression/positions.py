"""Relative positions of the weights that pruning kept (Han et al. 2016, section 2)."""

import numpy as np

from cnn_jax.errors import UserError


def to_gaps(positions: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes increasing positions as gaps of at most 2^bits - 1; also the entry of each position.

    An entry is gap + 1 positions behind the one before it. Where the next weight is further away,
    filler entries with the largest gap and a weight of 0 bridge the distance (Figure 2).
    """
    reach = 1 << bits
    distance = np.diff(positions, prepend=-1)
    fillers = (distance - 1) // reach
    entry = np.cumsum(fillers + 1) - 1
    gaps = np.full(entry[-1] + 1 if len(entry) else 0, reach - 1, np.int64)
    gaps[entry] = distance - 1 - fillers * reach
    return gaps, entry


def from_gaps(gaps: np.ndarray, size: int) -> np.ndarray:
    """The position of every entry, including fillers, among `size` weights."""
    positions = np.cumsum(np.asarray(gaps, np.int64) + 1) - 1
    if len(positions) and positions[-1] >= size:
        raise UserError(f"position {positions[-1]} lies outside a layer of {size} weights")
    return positions
