"""The tables of Han et al. (2016), 2 to 5: what each layer costs, stage by stage."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cnn_jax.compression import archive, huffman, positions

INDEX_BITS = 4  # of a gap, as for AlexNet (Table 4) and in the released SqueezeNet


class Row(NamedTuple):
    """A layer, or the sum of several; sizes in bits, without codebooks, biases and the like."""

    layer: str
    weights: int
    kept: int  # that are not 0
    entries: int  # stored: those, and the fillers of gaps that are too long
    codes: float  # P+Q: entries times the bits of a code
    codes_huffman: float
    gaps: float
    gaps_huffman: float

    @property
    def rate(self) -> float:
        """How many times smaller than float32 after all stages."""
        return 32 * self.weights / max(self.codes_huffman + self.gaps_huffman, 1)


def rows(arrays: Mapping[str, Any], index_bits: int = INDEX_BITS) -> list[Row]:
    """A row for each kernel that is shared or in steps; `index_bits` are those of a gap."""
    coded = archive.Steps | archive.Codebook
    return [
        _row(path.removeprefix("params/").removesuffix("/kernel"), array, index_bits)
        for path, array in arrays.items()
        if isinstance(array, coded) and path.endswith("/kernel")
    ]


def total(parts: list[Row]) -> Row:
    """The sum of rows."""
    return Row("total", *(sum(column) for column in list(zip(*parts, strict=True))[1:]))


def _row(layer: str, array: archive.Steps | archive.Codebook, index_bits: int) -> Row:
    """In the order [out, in, height, width], as the released file has it."""
    axes = archive.order(array.symbols.ndim)
    flat = array.symbols.transpose(axes).reshape(-1)
    # Not the symbols: in a codebook without 0 that of 0 stands for the value next to it.
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
    )


def _huffman(counts: np.ndarray) -> int:
    """Bits of all codewords."""
    return int((counts * huffman.lengths(counts).astype(np.int64)).sum())
