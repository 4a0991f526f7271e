"""Integer kernels to bytes and back: a range coder codes the binary decisions of `context`.

uint8     how many nodes of the regression are used; then for each of them
uint8         its number
int16 x 13    its coefficients, in units of 1/512
uint32 x n    the range coder's words (constriction's `queue.RangeEncoder`), little-endian
"""

import struct
from collections.abc import Sequence

import constriction
import numpy as np

from cnn_jax.compression import context
from cnn_jax.errors import UserError

UNIT = 512
PENALTY = 2.0  # on squared coefficients, in nats
ROWS = 4096  # `fit` uses at most as many decisions of each visit
CARRIED = 8  # the counts of earlier layers weigh as much as this many decisions of the next one

_BERNOULLI = constriction.stream.model.Bernoulli(perfect=False)


def encode(kernels: Sequence[np.ndarray]) -> bytes:
    """Codes integer arrays [out, in, height, width], one after the other."""
    for kernel in kernels:
        if kernel.size and np.abs(kernel).max() >= 2**context.CLASSES:
            raise UserError(f"a symbol of {np.abs(kernel).max()} is not below 2^{context.CLASSES}")
    coefficients = fit(kernels)
    used = np.flatnonzero(coefficients.any(1))
    table = b"".join(struct.pack("<B13h", node, *coefficients[node]) for node in used)
    encoder = constriction.stream.queue.RangeEncoder()

    def visit(node, features, bits):
        encoder.encode(bits.astype(np.int32), _BERNOULLI, _chance(coefficients, node, features))
        return bits

    _walk_all([kernel.shape for kernel in kernels], visit, kernels)
    words = encoder.get_compressed().astype("<u4")
    return struct.pack("<B", len(used)) + table + words.tobytes()


def decode(data: bytes, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Restores the arrays that `encode` coded; raises `UserError` for damaged data."""
    size = struct.calcsize("<B13h")
    used = data[0] if data else 0
    rest = data[1 + used * size :]
    if len(data) < 1 + used * size or len(rest) % 4:
        raise UserError("the range-coded section ends too early")
    coefficients = np.zeros((context.NODES, context.FEATURES), np.int64)
    for i in range(used):
        node, *row = struct.unpack_from("<B13h", data, 1 + i * size)
        if node >= context.NODES:
            raise UserError(f"the range-coded section has a node {node}")
        coefficients[node] = row
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(rest, "<u4").astype(np.uint32))

    def visit(node, features, bits):
        del bits
        chance = _chance(coefficients, node, features)
        return decoder.decode(_BERNOULLI, chance).astype(np.int64)

    try:
        return _walk_all(shapes, visit, [None] * len(shapes))
    except AssertionError as error:  # constriction: it cannot have written this data
        raise UserError(f"the range-coded section is damaged ({error})") from None


def _walk_all(shapes, visit, kernels):
    counts = np.zeros((context.NODES, 2))
    decoded = []
    for shape, kernel in zip(shapes, kernels, strict=True):
        counts = counts * (CARRIED / np.maximum(counts.sum(1, keepdims=True), CARRIED))
        layer = context.Layer(shape, counts)
        decoded.append(context.walk(layer, visit, kernel))
        counts = layer.counts
    return decoded


def _chance(coefficients, node, features):
    """The probability that each decision is 1, in steps of 2^-16."""
    if node == context.PLAIN:
        return np.clip(np.rint(features[0] * 65536), 1, 65535) / 65536
    logit = np.zeros(len(features[0]))
    for feature, coefficient in zip(features, coefficients[node], strict=False):
        logit += feature * (coefficient / UNIT)
    return context.probability(logit)


def fit(kernels: Sequence[np.ndarray]) -> np.ndarray:
    """Fits the coefficients, int [NODES, FEATURES], to these kernels."""
    seen: dict[int, list] = {}

    def visit(node, features, bits):
        if node != context.PLAIN and len(bits):
            every = slice(None, None, -(-len(bits) // ROWS))
            taken = np.stack([feature[every] for feature in features], 1), bits[every]
            seen.setdefault(node, []).append((*taken, len(bits) / len(taken[1])))
        return bits

    _walk_all([kernel.shape for kernel in kernels], visit, kernels)
    coefficients = np.zeros((context.NODES, context.FEATURES), np.int64)
    for node, visits in seen.items():
        rows = np.concatenate([features for features, _, _ in visits])
        bits = np.concatenate([bits for _, bits, _ in visits])
        weight = np.concatenate([np.full(len(bits), weight) for _, bits, weight in visits])
        found = _regression(rows, bits, weight) / np.log(2)  # logits have base 2
        limits = np.iinfo(np.int16)
        coefficients[node, : rows.shape[1]] = np.clip(np.rint(found * UNIT), limits.min, limits.max)
    return coefficients


def _regression(rows: np.ndarray, bits: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Penalized logistic regression by Newton's method; returns coefficients [features]."""
    found = np.zeros(rows.shape[1])
    penalty = PENALTY * np.eye(len(found))
    for _ in range(12):
        chance = 1 / (1 + np.exp(-np.clip(rows @ found, -40, 40)))
        gradient = rows.T @ (weight * (chance - bits)) + penalty @ found
        curvature = (rows * (weight * chance * (1 - chance))[:, None]).T @ rows + penalty
        step = np.linalg.solve(curvature, gradient)
        found -= step
        if np.abs(step).max() < 1e-3:
            break
    return found
