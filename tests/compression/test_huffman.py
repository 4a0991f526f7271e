"""Huffman codes and relative positions are exact, as short as the theory says, and fast."""

import numpy as np
import pytest

from cnn_jax.compression import huffman, positions
from cnn_jax.errors import UserError


def entropy(counts):
    share = counts[counts > 0] / counts.sum()
    return -(share * np.log2(share)).sum()


@pytest.mark.parametrize("seed", range(20))
def test_decode_is_the_inverse_of_encode_and_within_a_bit_of_the_entropy(seed):
    generator = np.random.default_rng(seed)
    alphabet = int(generator.integers(2, 300))
    shares = generator.dirichlet(np.full(alphabet, 10.0 ** generator.integers(-2, 2)))
    symbols = generator.choice(alphabet, int(generator.integers(1, 5000)), p=shares)
    counts = np.bincount(symbols, minlength=alphabet)
    lengths = huffman.lengths(counts)
    data = huffman.encode(symbols, lengths)
    np.testing.assert_array_equal(huffman.decode(data, lengths, len(symbols)), symbols)
    bits = (counts * lengths).sum()
    assert len(data) == -(-bits // 8)
    assert entropy(counts) <= bits / len(symbols) <= entropy(counts) + 1


def test_no_symbol_one_symbol_and_one_weight_work():
    empty = huffman.lengths(np.zeros(4, int))
    assert huffman.decode(huffman.encode(np.zeros(0, int), empty), empty, 0).size == 0
    for count in (1, 9):
        lengths = huffman.lengths(np.array([0, count]))
        data = huffman.encode(np.ones(count, int), lengths)
        assert len(data) == -(-count // 8)
        np.testing.assert_array_equal(huffman.decode(data, lengths, count), np.ones(count))


def test_the_lengths_of_a_known_code_are_those_of_the_textbook():
    np.testing.assert_array_equal(
        huffman.lengths(np.array([5, 9, 12, 13, 16, 45])), [4, 4, 3, 3, 3, 1]
    )


def test_a_code_that_ends_too_early_or_is_none_is_refused():
    symbols = np.arange(100) % 7
    lengths = huffman.lengths(np.bincount(symbols))
    data = huffman.encode(symbols, lengths)
    with pytest.raises(UserError, match="ends too early"):
        huffman.decode(data[:-1], lengths, 100)
    with pytest.raises(UserError, match="no Huffman code"):
        huffman.decode(data, np.ones(7, np.uint8), 100)


def test_as_many_symbols_as_squeezenet_has_come_back():
    symbols = np.minimum(np.random.default_rng(0).geometric(0.05, 422_083), 255)
    lengths = huffman.lengths(np.bincount(symbols))
    data = huffman.encode(symbols, lengths)
    np.testing.assert_array_equal(huffman.decode(data, lengths, len(symbols)), symbols)


@pytest.mark.parametrize("bits", [1, 3, 4, 5, 8])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.3, 1.0])
def test_positions_from_gaps_are_those_that_made_them(bits, density):
    mask = np.random.default_rng(bits).random(3000) < density
    where = np.flatnonzero(mask)
    gaps, entry = positions.to_gaps(where, bits)
    assert gaps.size == 0 or (gaps.min() >= 0 and gaps.max() < 2**bits)
    found = positions.from_gaps(gaps, mask.size)
    np.testing.assert_array_equal(found[entry], where)


def test_a_long_gap_is_filled_as_in_figure_2():
    # Figure 2: weights at 1, 4 and 15 with gaps of 3 bits; the filler stands 8 places behind 4.
    gaps, entry = positions.to_gaps(np.array([1, 4, 15]), 3)
    np.testing.assert_array_equal(gaps, [1, 2, 7, 2])
    np.testing.assert_array_equal(entry, [0, 1, 3])


def test_a_position_outside_the_layer_is_refused():
    with pytest.raises(UserError, match="position 10 lies outside a layer of 10 weights"):
        positions.from_gaps(np.array([10]), 10)
