"""Entropy coding of quantized kernels: binary decisions, each with a probability from its context.

A symbol is an integer. Decisions describe it: is it zero? negative? is its magnitude at least 2, at
least 4, ...? Then follow the bits below the highest one. A logistic regression predicts each
decision from the symbols that are known already: how large, how often nonzero and how often
negative they are in the same row (output), column (input and kernel position), input, kernel and
neighborhood. All layers use the same coefficients, which the file contains (`coder.fit`).

The weights of a layer come in passes that are spread evenly over its rows and columns, so that
NumPy works on thousands of them at a time. Probabilities use only sums, products, quotients and
roundings of float64, never a library's `log`, `exp` or dot product: a decoder needs exactly the
probabilities of the encoder, on every machine.
"""

from collections.abc import Callable

import numpy as np

# A weight is in the first pass whose limit is above its pseudo-random number in 0 .. 65535.
PASSES = np.array([1, 2, 4, 8, 16, 28, 40, 52, 64]) * 1024
ZERO, NEGATIVE, MORE = 0, 1, 2  # nodes: MORE + c asks whether the magnitude is 2^(c+1) or more
CLASSES = 20  # magnitudes below 2^20
BELOW = MORE + CLASSES  # BELOW + c asks for the second highest bit of 2^c <= magnitude < 2^(c+1)
NODES = BELOW + CLASSES
PLAIN = -1  # not a node: its only feature is the probability itself
FEATURES = 13
PREFIXES = 4096  # lower bits have their own counts for each number so far, up to this

# (node, features of shape [n], bits to code or None) -> bits
Visit = Callable[[int, list[np.ndarray], np.ndarray | None], np.ndarray]


def log2(x: np.ndarray) -> np.ndarray:
    """The logarithm, interpolated linearly between the powers of 2."""
    mantissa, exponent = np.frexp(x)
    return exponent + 2 * mantissa - 2


def probability(logit: np.ndarray) -> np.ndarray:
    """1 / (1 + 2^-logit), in steps of 2^-16, never 0 or 1."""
    logit = np.clip(logit, -20, 20)
    floor = np.floor(logit)
    rest = logit - floor
    odds = np.ldexp(1 + rest * (0.6565 + 0.3435 * rest), floor.astype(np.int64))
    return np.clip(np.rint(odds / (1 + odds) * 65536), 1, 65535) / 65536


def passes(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Flat positions of the weights of each pass, for a kernel [out, in, height, width]."""
    outputs, columns = shape[0], int(np.prod(shape[1:]))
    number = (np.arange(outputs)[:, None] * 40503 + np.arange(columns) * 30011) & 65535
    which = np.searchsorted(PASSES, number.reshape(-1), side="right")
    return [np.flatnonzero(which == i) for i in range(len(PASSES))]


class Layer:
    """The known part of a kernel [out, in, height, width] while it is coded."""

    def __init__(self, shape: tuple[int, ...], counts: np.ndarray):
        self.symbols = np.zeros(shape, np.int32)
        self.known = np.zeros(shape, np.int32)
        self.counts = counts  # [NODES, 2]: how often each decision was 0 and was 1
        self.prefixes = np.zeros((PREFIXES, 2), np.int64)

    def features(self, chosen: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Features of the weights `chosen`, for their sizes and for their signs."""
        where = np.unravel_index(chosen, self.symbols.shape)
        size = np.abs(self.symbols)
        total, seen, filled = size.sum(dtype=np.int64), self.known.sum(), np.count_nonzero(size)
        mean, density = (total + 1) / (seen + 1), (filled + 1) / (seen + 2)
        sizes, fills, signs = [np.full(len(chosen), log2(mean))], [], []
        for around in (_row, _column, _input, _kernel, _adjacent):
            known, sums = _at(around(self.known), where), _at(around(size), where)
            sizes.append(log2((sums + 2 * mean) / (known + 2)) - log2(mean))
            signs.append(_at(around(self.symbols), where) / (sums + mean))
            if around is not _adjacent:
                filled = _at(around(np.minimum(size, 1)), where)
                fills.append(log2((filled + 2 * density) / (known + 2)) - log2(density))
        return sizes + fills, signs


def _row(x):
    return x.sum((1, 2, 3), np.int64, keepdims=True)


def _column(x):
    return x.sum(0, np.int64, keepdims=True)


def _input(x):
    return x.sum((0, 2, 3), np.int64, keepdims=True)


def _kernel(x):
    return x.sum((2, 3), np.int64, keepdims=True)


def _adjacent(x):
    sums = np.zeros(x.shape, np.int64)
    sums[:, :, 1:] += x[:, :, :-1]
    sums[:, :, :-1] += x[:, :, 1:]
    sums[..., 1:] += x[..., :-1]
    sums[..., :-1] += x[..., 1:]
    return sums


def _at(values: np.ndarray, where: tuple[np.ndarray, ...]) -> np.ndarray:
    """The values at these weights; an axis of length 1 is broadcast."""
    axes = zip(where, values.shape, strict=True)
    return values[tuple(index if length > 1 else 0 * index for index, length in axes)]


def walk(layer: Layer, visit: Visit, symbols: np.ndarray | None = None) -> np.ndarray:
    """Visits all decisions of a kernel: given its symbols (encoding), or to learn them (decoding).

    Returns the symbols [out, in, height, width] and updates `layer.counts`.
    """
    given = None if symbols is None else symbols.reshape(-1)
    for index, chosen in enumerate(passes(layer.symbols.shape)):
        sizes, signs = layer.features(chosen)
        first = np.full(len(chosen), float(index == 0))
        decide = _decider(layer, visit, [first, *sizes], [first, *signs])
        own = None if given is None else given[chosen]
        values = _symbols(layer, decide, visit, own, len(chosen))
        layer.symbols.reshape(-1)[chosen] = values
        layer.known.reshape(-1)[chosen] = 1
    return layer.symbols


def _decider(layer, visit, sizes, signs):
    """`decide(node, rows, bits)` visits one node for the weights `rows` of the pass."""

    def decide(node, rows, bits):
        zeros, ones = layer.counts[node]
        own = log2((ones + 0.4) / (zeros + 0.4))
        features = [f[rows] for f in (signs if node == NEGATIVE else sizes)]
        features = [np.ones(len(rows)), np.full(len(rows), own), *features]
        bits = visit(node, features, bits)
        layer.counts[node] += np.bincount(bits, minlength=2)
        return bits

    return decide


def _symbols(layer, decide, visit, given, count):
    """The symbols of one pass; `given` are the symbols to encode, None to decode them."""
    size = None if given is None else np.abs(given)

    def ask(node, rows, question):
        if not len(rows):
            return np.zeros(0, np.int64)
        return decide(node, rows, None if size is None else question(rows).astype(np.int64))

    rows = np.flatnonzero(ask(ZERO, np.arange(count), lambda r: size[r] > 0))
    values = np.zeros(count, np.int64)
    sign = 1 - 2 * ask(NEGATIVE, rows, lambda r: given[r] < 0)
    signed = rows
    for c in range(CLASSES):
        if not len(rows):
            break
        more = ask(MORE + c, rows, lambda r, c=c: size[r] >= 2 << c).astype(bool)
        ended, rows = rows[~more], rows[more]
        values[ended] = 1
        for bit in range(c - 1, -1, -1):
            if bit == c - 1:
                low = ask(BELOW + c, ended, lambda r, b=bit: size[r] >> b & 1)
            else:
                low = _low(
                    layer, visit, values[ended], None if size is None else size[ended] >> bit & 1
                )
            values[ended] = 2 * values[ended] + low
    values[signed] *= sign
    return values


def _low(layer, visit, prefix, bits):
    """Visits a lower bit: how often was it set after the same higher bits in this layer?"""
    if not len(prefix):
        return np.zeros(0, np.int64)
    index = np.minimum(prefix, PREFIXES - 1)
    zeros, ones = layer.prefixes[index].T
    bits = visit(PLAIN, [(ones + 0.5) / (zeros + ones + 1)], bits)
    layer.prefixes[:, 0] += np.bincount(index[bits == 0], minlength=PREFIXES)
    layer.prefixes[:, 1] += np.bincount(index[bits == 1], minlength=PREFIXES)
    return bits
