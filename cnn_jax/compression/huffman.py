"""Canonical Huffman codes (Han et al. 2016, section 4), vectorized over arrays.

The lengths of the codewords, uint8 [alphabet] with 0 for a symbol that does not occur, define the
code: codewords of the same length follow the order of their symbols. A file stores the lengths.
"""

import heapq

import numpy as np

from cnn_jax.errors import UserError

LONGEST = 32  # only arrays of more than 5 million symbols can need longer codewords


def lengths(counts: np.ndarray) -> np.ndarray:
    """The bits of each symbol's codeword, for symbols that occur `counts` [alphabet] times."""
    result = np.zeros(len(counts), np.uint8)
    heap = [(int(n), int(symbol), (int(symbol),)) for symbol, n in enumerate(counts) if n]
    if len(heap) == 1:
        result[heap[0][1]] = 1
        return result
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        symbols = first[2] + second[2]
        result[list(symbols)] += 1
        heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), symbols))
    if result.max(initial=0) > LONGEST:
        raise UserError(f"a Huffman code of {result.max()} bits; at most {LONGEST} are supported")
    return result


def _canonical(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symbols in the order of their codewords, and the codewords, left-aligned in 32 bits."""
    symbols = np.flatnonzero(lengths)
    symbols = symbols[np.argsort(lengths[symbols], kind="stable")]
    spans = np.uint64(1) << (LONGEST - lengths[symbols]).astype(np.uint64)
    ends = np.cumsum(spans)
    if len(ends) and ends[-1] > 1 << LONGEST:
        raise UserError("no Huffman code has these lengths")
    return symbols, ends - spans


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """Concatenates the codewords of an array of symbols and fills the last byte with zeros."""
    order, words = _canonical(lengths)
    word = np.zeros(len(lengths), np.uint64)
    word[order] = words
    size = lengths[symbols].astype(np.int64)
    # Bit i of the output is bit `within` of its symbol's codeword.
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    bits = np.repeat(word[symbols], size) >> (LONGEST - 1 - within).astype(np.uint64) & np.uint64(1)
    return np.packbits(bits.astype(np.uint8)).tobytes()


def decode(data: bytes, lengths: np.ndarray, count: int) -> np.ndarray:
    """The first `count` symbols of the data; raises `UserError` where it ends too early.

    A codeword could begin at any bit of the data, and we know for each bit where the next codeword
    would begin. Doubling finds the bits where codewords do begin: those of the next n codewords are
    n steps away from those of the first n.
    """
    if not count:
        return np.zeros(0, np.int64)
    order, words = _canonical(lengths)
    bits = 8 * len(data)
    if not len(order) or count > bits:
        raise UserError("the Huffman code ends too early")
    window = _windows(data)
    entry = np.searchsorted(words, window, side="right") - 1
    end = bits  # one more start, whose next start is itself
    step = np.append(np.minimum(np.arange(bits) + lengths[order[entry]], end), end)
    starts = np.zeros(1, np.int64)
    while len(starts) < count:
        starts = np.append(starts, step[starts])[:count]
        if len(starts) < count:
            step = step[step]
    last = starts[-1]
    if last >= end or last + int(lengths[order[entry[last]]]) > end:
        raise UserError("the Huffman code ends too early")
    return order[entry[starts]]


def _windows(data: bytes) -> np.ndarray:
    """For each bit of the data, the 32 bits that start there, as uint64; zeros follow the end."""
    padded = np.frombuffer(data + bytes(8), np.uint8).astype(np.uint64)
    five = sum(padded[i : i + len(data)] << np.uint64(8 * (4 - i)) for i in range(5))
    shifts = np.arange(8, 0, -1).astype(np.uint64)
    return ((five[:, None] >> shifts) & np.uint64(2**LONGEST - 1)).reshape(-1)
