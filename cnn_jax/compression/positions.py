"""Where the weights are that pruning left: relative positions (Han et al. 2016, section 2)."""

import numpy as np

from cnn_jax.errors import UserError


def to_gaps(positions: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaps of at most 2^bits - 1 between increasing positions, and which entry each position has.

    An entry stands gap + 1 places behind the one before it. Where the next weight is further away,
    entries with the largest gap fill the way; their weight is 0 (Figure 2).
    """
    reach = 1 << bits
    distance = np.diff(positions, prepend=-1)
    fillers = (distance - 1) // reach
    entry = np.cumsum(fillers + 1) - 1
    gaps = np.full(entry[-1] + 1 if len(entry) else 0, reach - 1, np.int64)
    gaps[entry] = distance - 1 - fillers * reach
    return gaps, entry


def from_gaps(gaps: np.ndarray, size: int) -> np.ndarray:
    """The position of every entry, fillers too, among `size` weights."""
    positions = np.cumsum(np.asarray(gaps, np.int64) + 1) - 1
    if len(positions) and positions[-1] >= size:
        raise UserError(f"position {positions[-1]} in a layer of {size} weights")
    return positions
