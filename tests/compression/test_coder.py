"""The range coder is the inverse of itself, and smaller than the entropy without a context."""

import numpy as np
import pytest

from cnn_jax.compression import coder
from cnn_jax.errors import UserError


def kernel(shape, density, scale, seed):
    """Symbols whose rows and columns have sizes of their own."""
    generator = np.random.default_rng(seed)
    spread = np.exp(generator.normal(0, 0.7, (shape[0], 1, 1, 1)))
    spread = spread * np.exp(generator.normal(0, 0.7, (1, shape[1], 1, 1)))
    values = np.rint(generator.laplace(size=shape) * spread * scale).astype(np.int64)
    return values * (generator.random(shape) < density)


def entropy(symbols):
    share = np.unique(symbols, return_counts=True)[1] / symbols.size
    return -(share * np.log2(share)).sum() * symbols.size / 8


def check(kernels):
    data = coder.encode(kernels)
    decoded = coder.decode(data, [kernel.shape for kernel in kernels])
    for before, after in zip(kernels, decoded, strict=True):
        np.testing.assert_array_equal(before, after)
    return len(data)


@pytest.mark.parametrize("seed", range(12))
def test_decode_is_the_inverse_of_encode(seed):
    generator = np.random.default_rng(seed)
    shapes = [tuple(generator.integers(1, [20, 15, 6, 6])) for _ in range(3)]
    scale = 10.0 ** generator.integers(-1, 5)
    check([kernel(shape, generator.random(), scale, seed) for shape in shapes])


@pytest.mark.parametrize("value", [0, 1, -1, 2**20 - 1])
def test_one_weight_an_empty_layer_and_a_full_one_work(value):
    check(
        [np.full((1, 1, 1, 1), value), np.full((16, 8, 3, 3), value), np.zeros((4, 0, 1, 1), int)]
    )
    check([])


def test_no_machine_word_is_spent_on_zeros():
    assert check([np.zeros((128, 64, 3, 3), int)]) < 40


def test_rows_and_columns_of_different_size_are_made_use_of():
    symbols = kernel((128, 64, 3, 3), 1.0, 2, 0)
    assert check([symbols]) < 0.95 * entropy(symbols)


@pytest.mark.parametrize(
    "outputs,inputs", [(64, 64), pytest.param(512, 256, marks=pytest.mark.slow, id="a million")]
)
def test_weights_of_a_large_layer_come_back(outputs, inputs):
    check([kernel((outputs, inputs, 3, 3), 0.33, 4, 0)])


@pytest.mark.parametrize(
    "shape,tries",
    [((8, 4, 3, 3), 100), pytest.param((32, 16, 3, 3), 200, marks=pytest.mark.slow)],
)
def test_damaged_data_is_an_error_or_other_symbols_never_a_crash(shape, tries):
    symbols = kernel(shape, 0.3, 4, 0)
    data = coder.encode([symbols])
    generator = np.random.default_rng(0)
    for _ in range(tries):
        broken = bytearray(data[: len(data) - 4 * int(generator.integers(0, 3))])
        broken[int(generator.integers(len(broken)))] ^= int(generator.integers(1, 256))
        try:
            (decoded,) = coder.decode(bytes(broken), [symbols.shape])
            assert decoded.shape == symbols.shape
        except UserError as error:
            assert "\n" not in str(error)
    with pytest.raises(UserError, match="ends too early"):
        coder.decode(data[:20], [symbols.shape])
    with pytest.raises(UserError, match="ends too early"):
        coder.decode(b"", [symbols.shape])


def test_symbols_that_are_too_large_are_refused():
    with pytest.raises(UserError, match="below 2\\^20"):
        coder.encode([np.full((1, 1, 1, 1), 2**20)])
