"""Uniform quantization that weighs distortion against bits (rate-distortion).

All weights of a kernel become multiples of one step. Column by column, each weight gets the
multiple with the least distortion + rate * bits, and the columns that follow compensate for its
error as far as the moments of the layer's inputs allow. This is optimal brain surgery for a matrix
(Frantar et al. 2022, arXiv:2210.17323, who do not count bits). The bias is the last column, and
compensates for the remaining error of the mean.
"""

import numpy as np

from cnn_jax.compression.archive import Steps
from cnn_jax.compression.calibrate import Sensitivity

DAMPING = 0.01  # fraction of the mean second moment that is added to all of them
STEP = 0.9  # fraction of the step that is best at high rates
SIGN = 0.9  # bits of a sign; the context predicts the rest
ROUNDS = 2  # the first counts the bits of plain rounding, the second those of the first
BLOCK = 64  # columns; one matrix product passes their errors to all columns behind the block
LARGEST = 4095  # the largest multiple


def quantize(
    matrix: np.ndarray, bias: np.ndarray | None, layer: Sensitivity, rate: float
) -> tuple[Steps, np.ndarray | None]:
    """Quantizes a kernel to multiples of a step, and adjusts the bias.

    Args:
      matrix: [out, columns]; its rows hold all groups.
      bias: [out] or None.
      layer: the sensitivity of the layer.
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
    rows, gains = np.split(weights, groups), np.split(layer.gain, groups)
    each = list(zip(rows, moments, gains, strict=True))
    for _ in range(ROUNDS):
        bits = _bits(symbols)
        done = [_columns(*group, matrix.shape[1], step, rate, bits) for group in each]
        symbols = np.concatenate([found for found, _ in done])
    left = np.concatenate([rest for _, rest in done])
    return Steps(symbols, np.float32(step)), None if bias is None else left[:, 0]


def mean_square(moments: np.ndarray, bias: bool) -> np.ndarray:
    """The identity times the mean diagonal of each group; the column of a bias keeps its own."""
    columns = moments.shape[-1] - bias
    mean = np.trace(moments[:, :columns, :columns], axis1=1, axis2=2) / max(columns, 1)
    result = np.maximum(mean, 1e-30)[:, None, None] * np.eye(moments.shape[-1])
    if bias:
        result[:, -1, -1] = moments[:, -1, -1]
    return result


def _step(matrix, layer, inverse, rate) -> float:
    """The step at which one more bit lowers distortion = gain * spread * step^2 / 24 by `rate`."""
    spread = np.exp(-np.log(np.diagonal(inverse, axis1=1, axis2=2)).mean())
    step = STEP * np.sqrt(12 * rate / np.log(2) / (layer.gain.mean() * spread))
    largest = np.abs(matrix).max(initial=0)
    return float(np.float32(np.clip(step, largest / LARGEST, largest or 1)))


def _bits(symbols: np.ndarray) -> np.ndarray:
    """The bits of each magnitude, from how often it occurs."""
    counts = np.bincount(np.minimum(np.abs(symbols), LARGEST).reshape(-1), minlength=LARGEST + 1)
    bits = -np.log2((counts + 0.3) / (counts + 0.3).sum())
    bits[1:] += SIGN
    return bits


def _columns(weights, moments, gain, columns, step, rate, bits):
    """The symbols [out, columns] of one group, and the adjusted columns behind them (the bias)."""
    order = np.argsort(-np.diag(moments)[:columns], kind="stable")
    order = np.append(order, np.arange(columns, len(moments)))
    # Row j says how the columns behind column j best compensate for a unit of error in it.
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
