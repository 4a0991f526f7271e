"""Tables 2 to 5 of Han et al. (2016): the size of each layer after each stage."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cnn_jax.compression import archive, huffman, positions

INDEX_BITS = 4  # bits of a gap for AlexNet (Table 4) and in the released SqueezeNet


class Row(NamedTuple):
    """The sizes of a layer, or of several, in bits; biases and the like do not count."""

    layer: str
    weights: int
    kept: int  # weights that are not 0
    entries: int  # stored entries: the kept weights, and the fillers of long gaps
    codes: float  # entries times the bits of a code (the paper's P+Q)
    codes_huffman: float
    gaps: float
    gaps_huffman: float
    codebook: int  # the shared values as float32; the step where values are multiples of one

    @property
    def size(self) -> float:
        """The layer after pruning and quantization, as a fraction of float32."""
        return (self.codes + self.gaps + self.codebook) / max(32 * self.weights, 1)

    @property
    def size_huffman(self) -> float:
        """The layer after all stages, as a fraction of float32."""
        bits = self.codes_huffman + self.gaps_huffman + self.codebook
        return bits / max(32 * self.weights, 1)


def rows(arrays: Mapping[str, Any], index_bits: int = INDEX_BITS) -> list[Row]:
    """A row for each kernel that has a codebook or steps; a gap has `index_bits` bits."""
    coded = archive.Steps | archive.Codebook
    return [
        _row(path.removeprefix("params/").removesuffix("/kernel"), array, index_bits)
        for path, array in arrays.items()
        if isinstance(array, coded) and path.endswith("/kernel")
    ]


def total(rows: list[Row]) -> Row:
    """Adds all rows up."""
    return Row("total", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))


def _row(layer: str, array: archive.Steps | archive.Codebook, index_bits: int) -> Row:
    """Counts gaps in the order [out, in, height, width] of the released file."""
    axes = archive.order(array.symbols.ndim)
    flat = array.symbols.transpose(axes).reshape(-1)
    # Symbols would not do: in a codebook without 0, symbol 0 stands for a value near 0.
    where = np.flatnonzero(array.values().transpose(axes))
    gaps, entry = positions.to_gaps(where, index_bits)
    codes = np.zeros(len(gaps), np.int64)  # a filler has the code of 0
    codes[entry] = np.unique(flat[where], return_inverse=True)[1] + 1
    count = np.bincount(codes, minlength=2)
    bits = max(int(np.ceil(np.log2(len(count)))), 1)
    return Row(
        layer,
        flat.size,
        len(where),
        len(gaps),
        bits * len(gaps),
        _huffman(count),
        index_bits * len(gaps),
        _huffman(np.bincount(gaps, minlength=1)),
        32 * (len(array.codebook) if isinstance(array, archive.Codebook) else 1),
    )


def _huffman(counts: np.ndarray) -> int:
    """The bits of all codewords of a Huffman code for these counts."""
    return int((counts * huffman.lengths(counts).astype(np.int64)).sum())
