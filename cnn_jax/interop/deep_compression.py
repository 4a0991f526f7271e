"""The compressed SqueezeNet that its authors published (Han et al. 2016, arXiv:1510.00149).

github.com/songhan/SqueezeNet-Deep-Compression, `compressed_SqueezeNet.net`, little-endian:

    26 x uint32          stored entries of conv1, fire2 (squeeze 1x1, expand 1x1, expand 3x3), ...,
                         fire9, conv10; then for each of these convolutions
    256 x float32        codebook; value 0 is 0, for pruned weights
    out x float32        biases
    entries x uint8      codes
    entries x 4 bits     gaps, two in a byte, the low half first

The position of entry i in the flattened kernel [out, in, height, width] is the sum of gap + 1 over
the entries up to i, minus 1. An entry with code 0 bridges a gap of more than 15.
"""

import functools
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from cnn_jax import files, models
from cnn_jax.errors import UserError
from cnn_jax.models.cpu.xla import eval_shape

CODEBOOK = 256


class _Reader:
    """Reads arrays from the bytes of a file, one after the other."""

    def __init__(self, data: bytes):
        self._data = data
        self._offset = 0

    def take(self, dtype: str, count: int) -> np.ndarray:
        values = np.frombuffer(self._data, dtype, count, self._offset)
        self._offset += values.nbytes
        return values


class _Layer(NamedTuple):
    path: tuple[str, ...]  # ("fire2", "squeeze1x1")
    kernel_shape: tuple[int, ...]  # [height, width, in, out]


class Shared(NamedTuple):
    """The content of the file for one convolution."""

    codebook: np.ndarray  # float32 [256]
    bias: np.ndarray  # float32 [out]
    codes: np.ndarray  # uint8 [entries]
    gaps: np.ndarray  # uint8 [entries], 0 to 15


def read(path: str | PathLike) -> dict:
    """Reads variables {"params": ...} (float32, NumPy) from the authors' file.

    They belong to `create("squeezenet", num_classes=1000, version="1.0", conv10_padding=1)`. Its
    images are 227x227 with channels in the order BGR, and values 0-255 minus (104, 117, 123).

    Raises `UserError` for a file that is incomplete, has bytes left over or is something else.
    """
    params: dict = {}
    for layer, shared in zip(_layers(), parse(path), strict=True):
        module = params
        for name in layer.path:
            module = module.setdefault(name, {})
        module.update(kernel=_kernel(path, layer, shared), bias=shared.bias)
    return {"params": params}


def parse(path: str | PathLike) -> list[Shared]:
    """Reads the stored convolutions of the authors' file, in its order.

    Raises `UserError` for a file that is incomplete, has bytes left over or is something else.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror})") from None
    layers = _layers()
    entries = _entries(path, data, layers)
    reader = _Reader(data)
    reader.take("<u4", len(layers))
    return [
        _shared(path, reader, layer, count) for layer, count in zip(layers, entries, strict=True)
    ]


def write(path: str | PathLike, convolutions: Sequence[Shared]) -> None:
    """Writes the authors' format; `parse` and `write` reproduce their file byte for byte.

    Raises `UserError` for arrays that do not fit the 26 convolutions.
    """
    layers = _layers()
    if len(convolutions) != len(layers):
        raise UserError(f"the file has {len(layers)} convolutions, not {len(convolutions)}")
    sections = [np.array([len(shared.codes) for shared in convolutions], "<u4").tobytes()]
    for layer, shared in zip(layers, convolutions, strict=True):
        codebook, bias, codes, gaps = map(np.asarray, shared)
        shapes = (codebook.shape, bias.shape, gaps.shape)
        if shapes != ((CODEBOOK,), layer.kernel_shape[-1:], codes.shape):
            raise UserError(
                f"{'/'.join(layer.path)}: codebook, biases and gaps of {len(codes)} entries are "
                f"{[CODEBOOK]}, {[layer.kernel_shape[-1]]} and {[len(codes)]}, not "
                f"{', '.join(str(list(shape)) for shape in shapes)}"
            )
        _kernel(path, layer, shared)  # raises for positions outside the kernel
        even = np.pad(gaps, (0, len(gaps) % 2)).reshape(-1, 2).astype(np.uint8)
        sections += [codebook.astype("<f4").tobytes(), bias.astype("<f4").tobytes()]
        sections += [codes.astype("u1").tobytes(), (even[:, 0] | even[:, 1] << 4).tobytes()]
    files.write_bytes(path, b"".join(sections))


@functools.cache
def _layers() -> tuple[_Layer, ...]:
    """The convolutions of SqueezeNet 1.0 in the order of the file."""
    model = models.create("squeezenet", num_classes=1000, version="1.0", conv10_padding=1)
    image = jax.ShapeDtypeStruct((1, 227, 227, 3), np.float32)
    params = eval_shape(model.init, jax.random.key(0), image)["params"]
    fire = ("squeeze1x1", "expand1x1", "expand3x3")
    paths = [("conv1",), *((name, conv) for name in model.fires() for conv in fire), ("conv10",)]
    kernels = []
    for path in paths:
        module = params
        for name in path:
            module = module[name]
        kernels.append(module["kernel"].shape)
    return tuple(_Layer(*layer) for layer in zip(paths, kernels, strict=True))


def _entries(path, data: bytes, layers: Sequence[_Layer]) -> list[int]:
    """The number of stored entries of each layer; raises if the size of the file contradicts it."""
    header = 4 * len(layers)
    if len(data) < header:
        raise UserError(
            f"{path} has {len(data)} bytes, less than the header of a compressed SqueezeNet "
            f"({header} bytes); get the file again"
        )
    entries = np.frombuffer(data, "<u4", len(layers)).tolist()
    expected = header
    for layer, count in zip(layers, entries, strict=True):
        # Every entry has its own position, so a layer never has more entries than weights.
        if not 1 <= count <= np.prod(layer.kernel_shape):
            raise UserError(
                f"{path} is not a compressed SqueezeNet 1.0: its header gives {count} entries for "
                f"the {np.prod(layer.kernel_shape)} weights of {'/'.join(layer.path)}"
            )
        expected += 4 * (CODEBOOK + layer.kernel_shape[-1]) + count + (count + 1) // 2
    if len(data) != expected:
        state = "is truncated" if len(data) < expected else "has bytes left over"
        raise UserError(
            f"{path} {state}: {len(data)} bytes, where its header asks for {expected}; "
            "get the file again"
        )
    return entries


def _shared(path, reader: _Reader, layer: _Layer, count: int) -> Shared:
    """Reads one convolution."""
    codebook = reader.take("<f4", CODEBOOK)
    bias = reader.take("<f4", layer.kernel_shape[-1])
    codes = reader.take("u1", count)
    packed = reader.take("u1", (count + 1) // 2)
    if codebook[0] != 0 or not (np.isfinite(codebook).all() and np.isfinite(bias).all()):
        raise UserError(
            f"{path} is damaged: the codebook of {'/'.join(layer.path)} does not begin with 0, or "
            "a value of it or of the biases is not finite"
        )
    gaps = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)[:count]
    return Shared(codebook.astype(np.float32), bias.astype(np.float32), codes, gaps)


def _kernel(path, layer: _Layer, shared: Shared) -> np.ndarray:
    """The decoded kernel [height, width, in, out] of one convolution."""
    height, width, inputs, outputs = layer.kernel_shape
    positions = np.cumsum(shared.gaps.astype(np.int64) + 1) - 1
    kernel = np.zeros(height * width * inputs * outputs, np.float32)
    if positions[-1] >= kernel.size:
        raise UserError(
            f"{path} is damaged: position {positions[-1]} in {'/'.join(layer.path)}, which has "
            f"{kernel.size} weights"
        )
    kernel[positions] = shared.codebook[shared.codes]
    kernel = kernel.reshape(outputs, inputs, height, width).transpose(2, 3, 1, 0)
    return np.ascontiguousarray(kernel)
