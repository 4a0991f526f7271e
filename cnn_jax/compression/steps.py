"""Uniform steps chosen by rate and distortion: every bit where it saves most.

A kernel becomes multiples of one step per layer. Which multiple each weight gets is decided column
by column: the one with the least distortion + rate * bits. The error that it makes is taken back by
the columns still to come, as far as the moments of the layer's inputs allow (optimal brain surgery
for a whole matrix at once; Frantar et al. 2022, arXiv:2210.17323, without the price of the bits).
The bias comes last, so it takes back what is left of the mean.
"""

import numpy as np

from cnn_jax.compression.archive import Steps
from cnn_jax.compression.calibrate import Sensitivity

DAMPING = 0.01  # of the mean second moment, added to all of them
STEP = 0.9  # of the step that is best at high rates
SIGN = 0.9  # bits of a sign; the context knows the rest
ROUNDS = 2  # the first with the bits of plain rounding, each next with those of the one before
BLOCK = 64  # columns, whose errors are handed to the columns behind the block in one product
LARGEST = 4095


def quantize(
    matrix: np.ndarray, bias: np.ndarray | None, layer: Sensitivity, rate: float
) -> tuple[Steps, np.ndarray | None]:
    """Multiples of a step for a kernel, and the bias that goes with them.

    Args:
      matrix: [out, columns], of all groups.
      bias: [out] or None.
      layer: of these columns.
      rate: nats of KL divergence that a bit is worth; larger is coarser and smaller.

    Returns the symbols [out, columns] with their step, and the bias [out] in full precision.
    """
    groups = len(layer.moments)
    moments = layer.moments if bias is not None else layer.moments[:, :-1, :-1]
    moments = moments + DAMPING * mean_square(moments, bias is not None)
    weights = np.asarray(matrix, np.float64)
    if bias is not None:
        weights = np.concatenate([weights, np.asarray(bias, np.float64)[:, None]], 1)
    inverse = np.linalg.inv(moments)
    step = _step(matrix, layer, inverse[:, : matrix.shape[1], : matrix.shape[1]], rate)
    symbols = np.rint(matrix / step).astype(np.int64)
    parts = list(zip(np.split(weights, groups), moments, np.split(layer.gain, groups), strict=True))
    for _ in range(ROUNDS):
        bits = _bits(symbols)
        done = [_columns(*part, matrix.shape[1], step, rate, bits) for part in parts]
        symbols = np.concatenate([found for found, _ in done])
    left = np.concatenate([rest for _, rest in done])
    return Steps(symbols, np.float32(step)), None if bias is None else left[:, 0]


def mean_square(moments: np.ndarray, bias: bool) -> np.ndarray:
    """The unit matrix, times the mean of the diagonal of each group; the bias has its own, 1."""
    columns = moments.shape[-1] - bias
    mean = np.trace(moments[:, :columns, :columns], axis1=1, axis2=2) / max(columns, 1)
    result = np.maximum(mean, 1e-30)[:, None, None] * np.eye(moments.shape[-1])
    if bias:
        result[:, -1, -1] = moments[:, -1, -1]
    return result


def _step(matrix, layer, inverse, rate) -> float:
    """Where distortion = gain * spread * step^2 / 24 falls by `rate` for the next bit."""
    spread = np.exp(-np.log(np.diagonal(inverse, axis1=1, axis2=2)).mean())
    step = STEP * np.sqrt(12 * rate / np.log(2) / (layer.gain.mean() * spread))
    largest = np.abs(matrix).max(initial=0)
    return float(np.float32(np.clip(step, largest / LARGEST, largest or 1)))


def _bits(symbols: np.ndarray) -> np.ndarray:
    """What each magnitude costs, from how often each occurs."""
    counts = np.bincount(np.minimum(np.abs(symbols), LARGEST).reshape(-1), minlength=LARGEST + 1)
    bits = -np.log2((counts + 0.3) / (counts + 0.3).sum())
    bits[1:] += SIGN
    return bits


def _columns(weights, moments, gain, columns, step, rate, bits):
    """Symbols [out, columns] of one group, and what became of the columns behind them."""
    order = np.argsort(-np.diag(moments)[:columns], kind="stable")
    order = np.append(order, np.arange(columns, len(moments)))
    # Row j: how a unit of error in column j is best taken back by those behind it.
    factor = np.linalg.cholesky(np.linalg.inv(moments[order][:, order])).T
    rest = weights[:, order].copy()
    found = np.zeros((len(weights), columns), np.int64)
    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        errors = np.zeros((len(weights), end - start))
        for j in range(start, end):
            scaled = rest[:, j] / step
            nearest = np.minimum(np.rint(np.abs(scaled)), LARGEST).astype(np.int64)
            choices = np.stack([nearest, np.maximum(nearest - 1, 0), np.zeros_like(nearest)])
            price = gain / 2 * (step / factor[j, j]) ** 2
            cost = price * (np.abs(scaled) - choices) ** 2 + rate * bits[choices]
            best = np.take_along_axis(choices, cost.argmin(0)[None], 0)[0]
            found[:, order[j]] = best * np.sign(scaled).astype(np.int64)
            errors[:, j - start] = (rest[:, j] - found[:, order[j]] * step) / factor[j, j]
            rest[:, j + 1 : end] -= errors[:, j - start, None] * factor[j, j + 1 : end]
        rest[:, end:] -= errors @ factor[start:end, end:]
    return found, rest[:, columns:]
