"""Canonical Huffman codes (Han et al. 2016, section 4), for whole arrays at a time.

A code is its lengths: uint8 [alphabet], 0 for a symbol that does not occur. Of two codewords of one
length that of the smaller symbol comes first, so the lengths are all that a file has to keep.
"""

import heapq

import numpy as np

from cnn_jax.errors import UserError

LONGEST = 32  # a code of more bits has more than 5 million symbols in it


def lengths(counts: np.ndarray) -> np.ndarray:
    """Bits of each symbol's codeword, for symbols that occur `counts` [alphabet] times."""
    result = np.zeros(len(counts), np.uint8)
    heap = [(int(n), int(symbol), (int(symbol),)) for symbol, n in enumerate(counts) if n]
    if len(heap) == 1:
        result[heap[0][1]] = 1
        return result
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        members = first[2] + second[2]
        result[list(members)] += 1
        heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), members))
    if result.max(initial=0) > LONGEST:
        raise UserError(f"a Huffman code of {result.max()} bits; at most {LONGEST} are supported")
    return result


def _canonical(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symbols in the order of their codewords, and the codewords, aligned to the left of 32."""
    symbols = np.flatnonzero(lengths)
    symbols = symbols[np.argsort(lengths[symbols], kind="stable")]
    spans = np.uint64(1) << (LONGEST - lengths[symbols]).astype(np.uint64)
    ends = np.cumsum(spans)
    if len(ends) and ends[-1] > 1 << LONGEST:
        raise UserError("these lengths are those of no Huffman code")
    return symbols, ends - spans


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """The codewords of an array of symbols, one after the other, the last byte filled with 0."""
    order, words = _canonical(lengths)
    word = np.zeros(len(lengths), np.uint64)
    word[order] = words
    size = lengths[symbols].astype(np.int64)
    # Bit i of the output is bit `within` of the codeword of the symbol that it belongs to.
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    bits = np.repeat(word[symbols], size) >> (LONGEST - 1 - within).astype(np.uint64) & np.uint64(1)
    return np.packbits(bits.astype(np.uint8)).tobytes()


def decode(data: bytes, lengths: np.ndarray, count: int) -> np.ndarray:
    """The first `count` symbols of what `encode` gave.

    At every bit of the data a codeword could begin. Each place knows where the next would; the
    places that are reached from the first are found by doubling: from those of the first n
    codewords the next n are 2^k steps away. Raises `UserError` for data that ends too early.
    """
    if not count:
        return np.zeros(0, np.int64)
    order, words = _canonical(lengths)
    bits = 8 * len(data)
    if not len(order) or count > bits:
        raise UserError("the Huffman code ends too early")
    window = _windows(data)
    entry = np.searchsorted(words, window, side="right") - 1
    end = bits  # a place of its own, which leads to itself
    step = np.append(np.minimum(np.arange(bits) + lengths[order[entry]], end), end)
    places = np.zeros(1, np.int64)
    while len(places) < count:
        places = np.append(places, step[places])[:count]
        if len(places) < count:
            step = step[step]
    last = places[-1]
    if last >= end or last + int(lengths[order[entry[last]]]) > end:
        raise UserError("the Huffman code ends too early")
    return order[entry[places]]


def _windows(data: bytes) -> np.ndarray:
    """The 32 bits from each bit of the data on, as uint64; behind the end are zeros."""
    padded = np.frombuffer(data + bytes(8), np.uint8).astype(np.uint64)
    five = sum(padded[i : i + len(data)] << np.uint64(8 * (4 - i)) for i in range(5))
    shifts = np.arange(8, 0, -1).astype(np.uint64)
    return ((five[:, None] >> shifts) & np.uint64(2**LONGEST - 1)).reshape(-1)
