"""Arrays by name, from a file of weights of any known format; every damage is one clear line.

The content decides what a file is; the name only where the content begins as anything may.
Of the formats, zip archives (`.npz`, `.keras`, PyTorch's) have checksums, and so do our own
`.safetensors`: each is verified. No file's code runs.
"""

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from cnn_jax import files
from cnn_jax.errors import UserError, first_line
from cnn_jax.interop import torch_files
from cnn_jax.interop.readers import caffe, flax_msgpack, keras, onnx, tf_checkpoint, tfjs

# PyTorch's, which people also call so: "resnet20.th", "model.pt7", "model_best.pth.tar".
TORCH = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".th", ".pt7", ".t7")
# Formats that begin as anything may.
NAMED = {".caffemodel": caffe.read, ".msgpack": flax_msgpack.read}
# Those that may have arrays in files beside them.
SEVERAL = {".json": tfjs.read, ".index": tf_checkpoint.read, ".onnx": onnx.read}
HDF5 = (".h5", ".hdf5", ".hkl")
SUFFIXES = (*TORCH, ".safetensors", ".npz", ".keras", *HDF5, *NAMED, *SEVERAL)
CHECKSUM = "checksum"  # in the metadata of our own files, of `digest`
MOST_BYTES = 2**32  # of unpacked arrays; VGG-19, the largest network of the project, has 0.6e9
# How files begin that people take for weights.
FOREIGN = {
    b"\x93NUMPY": "it holds one array, and no names",
    b"version https://git-lfs": "it is a pointer of Git LFS: `git lfs pull` gets the file itself",
    b"<": "it is a page of the web, perhaps of a download that failed",
}
# torchvision's and timm's names of the last layer; the first that a state dict has shows its number
# of classes.
HEADS = ("fc.weight", "classifier.6.weight", "classifier.1.weight", "head.fc.weight")
STARTS = ("features", "conv1", "fc")  # of their names of layers
DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16, "BOOL": "?"},
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
}


def by_name(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by the names that they have there; half precision becomes float32.

    Raises `UserError` for a file that is damaged, or of another format.
    """
    if not path.is_file():
        raise UserError(f"no file {path}")
    try:
        found = SEVERAL[path.suffix](path) if path.suffix in SEVERAL else read_one(path)
    except UserError as error:
        raise UserError(f"{path} is not a file of weights: {error}") from None
    except Exception as error:  # the libraries raise almost anything for damaged files
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{path} is damaged or cut short ({reason}); get it again") from None
    for name, array in found.items():
        if array.dtype.kind not in "biuf" and array.dtype != jnp.bfloat16:
            raise UserError(f"{path}: {name} has no numbers, but values of type {array.dtype}")
    return {name: widened(array) for name, array in found.items()}


def read_one(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file that has them all."""
    data = path.read_bytes()
    return tf_checkpoint.read(path) if data.endswith(tf_checkpoint.END) else read(data, path.suffix)


def read(data: bytes, suffix: str = "") -> dict[str, np.ndarray]:
    """The arrays in the bytes of a file; raises `UserError` for a format that is not read."""
    if data and suffix in NAMED:
        return NAMED[suffix](data)
    if data.startswith(b"\x89HDF"):
        return keras.read_hdf5(data)
    if data[8:9] == b"{":
        return read_safetensors(data)
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_members(data, archive)
            if any(name.endswith(".npy") for name in archive.namelist()):
                return read_npz(archive)
            if keras.WEIGHTS in archive.namelist():
                return keras.read_archive(archive)
        return torch_files.read(data)
    if data.startswith(b"\x80"):
        return torch_files.read(data)
    for start, what in FOREIGN.items():
        if data.startswith(start):
            raise UserError(what)
    raise UserError(f"it begins with {data[:8]!r}" if data else "it is empty")


def check_members(data: bytes, archive: zipfile.ZipFile) -> None:
    """Raises where an archive lists another number of members than it says: a bit can hide one."""
    (count,) = struct.unpack_from("<H", data, data.rfind(b"PK\x05\x06") + 10)
    if count != len(archive.infolist()):
        raise ValueError(f"it lists {len(archive.infolist())} members, and says {count}")


def read_npz(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """The arrays of an archive that `numpy.savez` wrote."""
    if (size := sum(member.file_size for member in archive.infolist())) > MOST_BYTES:
        raise UserError(f"it unpacks to {size:,} bytes, more than {MOST_BYTES:,}")
    found = {}
    for name in archive.namelist():
        content = io.BytesIO(archive.read(name))  # all of it: the checksum is that of the whole
        found[name.removesuffix(".npy")] = np.lib.format.read_array(content, allow_pickle=False)
        if content.read(1):
            raise ValueError(f"{name} has bytes left over")
    return found


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a `.safetensors` file; those of our own are compared with their checksum."""
    found = {}
    for name, entry in sorted(safetensors.deserialize(data)):
        if entry["dtype"] not in DTYPES:
            raise UserError(f"{name} is of type {entry['dtype']}, which is not read")
        found[name] = np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    expected = header.get("__metadata__", {}).get(CHECKSUM)
    if expected not in (None, digest(found)):
        raise ValueError("its checksum is wrong")
    return found


def write_safetensors(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a `.safetensors` file: the same arrays and metadata are the same bytes."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = safetensors.numpy.save(contiguous, dict(metadata))
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(metadata.items()))  # the library's order is random
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    files.write_bytes(path, len(text).to_bytes(8, "little") + text + data[end:])


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """A checksum of names, types, shapes and values."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.reshape(-1).view(np.uint8))
    return found.hexdigest()


def widened(array: np.ndarray) -> np.ndarray:
    """Half precision as float32, in which the networks keep their parameters."""
    is_half = array.dtype == jnp.bfloat16 or array.dtype == np.float16
    return array.astype(np.float32) if is_half else array


def unwrapped(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The layers without what wrappers put before their names, and without what is beside them.

    `DataParallel` puts "module." there, Lightning the name of the network, such as "model.", and
    `torch.compile` "_orig_mod.".
    """
    before = {k.removesuffix(head) for k in state for head in HEADS if k.endswith(f".{head}")}
    prefix = min(before, key=len, default="")
    firsts = {key.partition(".")[0] for key in state}
    is_wrapped = len(firsts) == 1 and firsts.isdisjoint(STARTS) and all("." in key for key in state)
    if not before and is_wrapped:  # and without a classifier
        return unwrapped({key.partition(".")[2]: value for key, value in state.items()})
    is_bare = any(head in state for head in HEADS)
    if is_bare or not prefix or not all(other.startswith(prefix) for other in before):
        return state
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
