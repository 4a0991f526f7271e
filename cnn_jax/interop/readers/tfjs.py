"""The arrays of a TensorFlow.js layers model: `model.json` and the files it lists beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax.errors import UserError
from cnn_jax.interop.readers.keras import renumbered

DTYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint8": "u1", "uint16": "<u2"}
MOST_NUMBERS = 2**30


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays by Keras's names, as in its own files."""
    return renumbered(arrays(path))


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays as they are named, those that are stored in 8 or 16 bits as float32.

    Raises `UserError` where the file is something else or a file beside it is missing.
    """
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict) or "weightsManifest" not in content:
        raise UserError("it is JSON, but no model.json of TensorFlow.js: it has no weightsManifest")
    found: dict[str, np.ndarray] = {}
    for group in content["weightsManifest"]:
        data, at = b"".join(shard(path.parent, name) for name in group["paths"]), 0
        for entry in group["weights"]:
            array, at = one(data, at, entry)
            found[entry["name"]] = array
        if at != len(data):
            raise ValueError(f"its shards have {len(data):,} bytes, and its arrays {at:,}")
    return found


def shard(folder: Path, name: str) -> bytes:
    """The bytes of a file beside `model.json`."""
    if Path(name).name != name:
        raise ValueError(f"{name!r} is no file beside it")
    if not (folder / name).is_file():
        raise UserError(f"its file {name} is not beside it")
    return (folder / name).read_bytes()


def one(data: bytes, at: int, entry: dict[str, Any]) -> tuple[np.ndarray, int]:
    """An array that begins at a byte, and where the next one does."""
    how = entry.get("quantization")
    dtype = np.dtype(DTYPES[how["dtype"] if how else entry["dtype"]])
    shape = [int(size) for size in entry["shape"]]
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if min(shape, default=1) < 0 or count > MOST_NUMBERS:
        raise ValueError(f"{entry['name']} has the shape {shape}")
    array = np.frombuffer(data, dtype, count, at).reshape(shape)
    end = at + array.nbytes
    if how and "scale" in how:
        array = array * float(how["scale"]) + float(how["min"])
    return array.astype(np.float32), end
