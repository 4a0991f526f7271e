"""A trained network as one small file that is complete in itself.

    8 bytes   MAGIC, whose last byte is the version
    8 bytes   BLAKE2b hash of everything after it
    uint32    size of the header (all numbers are little-endian)
    header    zlib of JSON: `about` (config, class names, ...), and path, shape and coding
              of each array
    4 x       uint32 size, and zlib of the first, second, ... byte of all float values
    rest      the symbols of all "step" and "codebook" arrays, as `coder` writes them

An array has one of four codings. "float32" and "float16" store its values. "step" stores a float32
step and integer symbols, which multiply it. "codebook" stores increasing float32 values and integer
symbols: symbol s stands for value number `zero` + s.
"""

import hashlib
import json
import math
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn_jax import files
from cnn_jax.compression import coder
from cnn_jax.errors import UserError, first_line

MAGIC = b"\x89CNNJAX\x01"
CHECKSUM = 8  # bytes
LARGEST_HEADER = 2**24  # bytes; the names of 22,000 classes are half a million
MOST_VALUES = 2**28  # VGG-19, the largest network of the project, has 144 million


class Steps(NamedTuple):
    """An array of integer multiples of a step."""

    symbols: np.ndarray  # int, in the shape of the array
    step: np.float32

    def values(self) -> np.ndarray:
        return self.symbols.astype(np.float32) * np.float32(self.step)


class Codebook(NamedTuple):
    """An array that has few different values."""

    symbols: np.ndarray  # int, in the shape of the array; 0 stands for codebook[zero]
    codebook: np.ndarray  # float32 [k], increasing
    zero: int

    def values(self) -> np.ndarray:
        return self.codebook[self.symbols + self.zero]


class Archive(NamedTuple):
    """The content of a file."""

    variables: dict[str, Any]  # {"params", "batch_stats"} of float32 NumPy arrays
    about: dict[str, Any]  # the argument of `write`
    arrays: dict[str, Any]  # the argument of `write`: a coded array for each path


def codebook(values: np.ndarray) -> Codebook:
    """Codes an array exactly, by the list of its different values."""
    different, index = np.unique(np.asarray(values, np.float32), return_inverse=True)
    zero = int(np.searchsorted(different, 0)) if len(different) else 0
    zero = min(zero, max(len(different) - 1, 0))
    return Codebook(index.reshape(values.shape) - zero, different, zero)


def write(path: str | os.PathLike, arrays: Mapping[str, Any], about: Mapping[str, Any]) -> int:
    """Writes arrays by path ("params/conv1/kernel"); returns the size of the file in bytes.

    Args:
      arrays: each a `Steps`, a `Codebook`, or a float32 or float16 array.
      about: JSON values that say what the network is.
    """
    entries, floats, kernels = [], [], []
    for name, array in arrays.items():
        symbols = array.symbols if isinstance(array, Steps | Codebook) else None
        shape = list(np.shape(array if symbols is None else symbols))
        if isinstance(array, Steps):
            entries.append([name, shape, "step"])
            floats.append(_bits(np.float32([array.step])))
        elif isinstance(array, Codebook):
            entries.append([name, shape, "codebook", len(array.codebook), array.zero])
            floats.append(np.diff(_ordered(array.codebook), prepend=np.uint32(0)))
        else:
            entries.append([name, shape, str(array.dtype)])
            floats.append(_bits(array))
        if symbols is not None:
            kernels.append(np.asarray(symbols).transpose(order(len(shape))).reshape(_matrix(shape)))
    header = json.dumps({"about": dict(about), "arrays": entries}, separators=(",", ":"))
    packed = zlib.compress(header.encode(), 9)
    body = struct.pack("<I", len(packed)) + packed + _planes(floats) + coder.encode(kernels)
    data = MAGIC + _checksum(body) + body
    files.write_bytes(path, data)
    return len(data)


def is_archive(path: str | os.PathLike) -> bool:
    """Whether a file begins with the magic bytes of a compressed network, in any version."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC))[:-1] == MAGIC[:-1]
    except OSError:
        return False


def read(path: str | os.PathLike) -> Archive:
    """Reads a file of `write`; raises `UserError` for a damaged file and for any other file."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror})") from None
    start = len(MAGIC) + CHECKSUM
    if data[: len(MAGIC) - 1] != MAGIC[:-1]:
        raise UserError(f"{path} is no compressed network: `launch.py compress` makes them")
    if data[: len(MAGIC)] != MAGIC:
        version = data[len(MAGIC) - 1] if len(data) >= len(MAGIC) else "?"
        raise UserError(f"{path} is of version {version}; this code reads version {MAGIC[-1]}")
    if len(data) < start or _checksum(data[start:]) != data[len(MAGIC) : start]:
        raise UserError(f"{path} is damaged or cut short: its checksum is wrong; get it again")
    try:
        about, arrays = _parse(data[start:])
        variables = _nested({name: _values(array) for name, array in arrays.items()})
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}") from None
    except (ValueError, TypeError, KeyError, struct.error, zlib.error, RecursionError) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}") from None
    return Archive(variables, about, arrays)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECKSUM).digest()


def _parse(body: bytes) -> tuple[dict, dict]:
    """Reads everything after the checksum: `about`, and the arrays by path."""
    (size,) = struct.unpack_from("<I", body)
    unpacked = zlib.decompressobj()
    text = unpacked.decompress(body[4 : 4 + size], LARGEST_HEADER)
    if not unpacked.eof:
        raise UserError("its header is not complete")
    header = json.loads(text)
    about, entries = header["about"], header["arrays"]
    for name, shape, coding, *_ in entries:
        numbers = all(type(n) is int and 0 <= n <= MOST_VALUES for n in shape)
        if type(name) is not str or not numbers or len(shape) > 8:
            raise UserError(f"its header has an array {name!r} of shape {shape!r}")
        if coding not in ("float32", "float16", "step", "codebook"):
            raise UserError(f"its header has a coding {coding!r}")
    if sum(math.prod(entry[1]) for entry in entries) > MOST_VALUES:
        raise UserError(f"its header asks for more than {MOST_VALUES:,} values")
    if len({entry[0] for entry in entries}) < len(entries):
        raise UserError("its header has an array twice")
    floats, offset = _unplanes(body, 4 + size, [_floats(entry) for entry in entries])
    coded = [shape for _, shape, coding, *_ in entries if not coding.startswith("float")]
    kernels = iter(coder.decode(body[offset:], [_matrix(shape) for shape in coded]))
    return about, {
        entry[0]: _array(entry, bits, kernels) for entry, bits in zip(entries, floats, strict=True)
    }


def _floats(entry: list) -> int:
    """How many float values the file stores for an entry of the header."""
    _, shape, coding, *numbers = entry
    if coding == "step":
        return 1
    if coding != "codebook":
        return math.prod(shape)
    length, zero = numbers
    whole = type(length) is int and type(zero) is int
    if not whole or not (0 <= zero < max(length, 1) and length <= math.prod(shape)):
        raise UserError(f"its header has a codebook of {length!r} values, zero at {zero!r}")
    return length


def _array(entry: list, bits: np.ndarray, kernels) -> Any:
    """Makes the array of an entry from its float values and, if it has any, the next symbols."""
    name, shape, coding, *numbers = entry
    if coding == "float32":
        return bits.view(np.float32).reshape(shape)
    if coding == "float16":
        return bits.astype(np.uint16).view(np.float16).reshape(shape)
    axes = order(len(shape))
    symbols = next(kernels).reshape([shape[i] for i in axes]).transpose(np.argsort(axes))
    if coding == "step":
        return Steps(symbols, bits.view(np.float32)[0])
    values = _unordered(np.cumsum(bits, dtype=np.uint32))
    length, zero = numbers
    if symbols.size and not (-zero <= symbols.min() and symbols.max() < length - zero):
        raise UserError(f"{name} has symbols outside of its codebook")
    return Codebook(symbols, values, zero)


def _values(array: Any) -> np.ndarray:
    values = array.values() if isinstance(array, Steps | Codebook) else array.astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError("a value is not finite")
    return values


def _nested(flat: Mapping[str, np.ndarray]) -> dict:
    """Turns {"params/conv1/kernel": a} into {"params": {"conv1": {"kernel": a}}}."""
    tree: dict = {}
    for name, array in flat.items():
        *groups, last = name.split("/")
        group = tree
        for part in groups:
            group = group.setdefault(part, {})
            if not isinstance(group, dict):
                raise UserError(f"{name} lies inside another array")
        if last in group:
            raise UserError(f"it has {name} twice")
        group[last] = array
    return tree


def order(dimensions: int) -> list[int]:
    """Axes that turn Flax's kernels into [out, in, height, width] and [out, in]."""
    axes = list(range(dimensions))
    return axes[:-3:-1] + axes[:-2] if dimensions > 1 else axes


def _matrix(shape: list[int]) -> tuple[int, ...]:
    """The shape [out, in, height, width] in which the coder sees an array of any shape."""
    if len(shape) == 4:
        return tuple(shape[i] for i in order(4))
    if len(shape) < 2:
        return (math.prod(shape), 1, 1, 1)
    return (shape[-1], shape[-2], math.prod(shape[:-2]), 1)


def _bits(values: np.ndarray) -> np.ndarray:
    """The bits of float values as uint32 [n]; float16 fills the lower half."""
    values = np.ascontiguousarray(values).reshape(-1)
    return values.view(f"u{values.itemsize}").astype(np.uint32)


def _ordered(values: np.ndarray) -> np.ndarray:
    """Maps float32 to uint32 in the same order, so that neighbors differ by little."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _unordered(bits: np.ndarray) -> np.ndarray:
    return np.where(bits >> 31, bits & np.uint32(2**31 - 1), ~bits).view(np.float32)


def _planes(floats: list[np.ndarray]) -> bytes:
    """Compresses all first bytes, all second bytes, ...: the upper bytes of values are similar."""
    values = np.concatenate([np.zeros(0, np.uint32), *floats])
    planes = [(values >> 8 * i & 255).astype(np.uint8).tobytes() for i in range(4)]
    packed = [zlib.compress(plane, 9) for plane in planes]
    return b"".join(struct.pack("<I", len(plane)) + plane for plane in packed)


def _unplanes(body: bytes, offset: int, counts: list[int]) -> tuple[list[np.ndarray], int]:
    """The values of each array, and the offset behind the planes."""
    values = np.zeros(sum(counts), np.uint32)
    for i in range(4):
        (size,) = struct.unpack_from("<I", body, offset)
        unpacked = zlib.decompressobj()
        packed = body[offset + 4 : offset + 4 + size]
        plane = unpacked.decompress(packed, len(values) + 1)  # + 1 since 0 means no limit
        if len(plane) != len(values):
            raise UserError(f"it has {len(plane)} float values instead of {len(values)}")
        values |= np.frombuffer(plane, np.uint8).astype(np.uint32) << np.uint32(8 * i)
        offset += 4 + size
    return np.split(values, np.cumsum(counts)[:-1]) if counts else [], offset
