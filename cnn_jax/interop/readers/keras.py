"""The arrays of Keras's files as "conv1_conv/kernel": `.keras`, `.weights.h5`, older `.h5`.

They are HDF5, which the package h5py reads (the extra `keras`). Keras 3 counts the arrays of a
layer and keeps its name beside them; what an array is follows from how many there are.
"""

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cnn_jax.errors import UserError

LAYER_ARRAYS = {
    1: ("kernel",),
    2: ("kernel", "bias"),
    3: ("beta", "moving_mean", "moving_variance"),
    4: ("gamma", "beta", "moving_mean", "moving_variance"),
}
WEIGHTS = "model.weights.h5"  # in a `.keras` archive
MOST_BYTES = 2**32
DEPTH = 8  # of groups in groups


def read_archive(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """The arrays of a `.keras` file."""
    if archive.getinfo(WEIGHTS).file_size > MOST_BYTES:
        raise UserError(f"it unpacks to more than {MOST_BYTES:,} bytes")
    return read_hdf5(archive.read(WEIGHTS))


def read_hdf5(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an HDF5 file; those of an optimizer are left out."""
    try:
        import h5py
    except ImportError:
        raise UserError("it is HDF5, as Keras writes it: pip install h5py reads it") from None
    found: dict[str, np.ndarray] = {}
    with h5py.File(io.BytesIO(data), "r") as file:
        for path, array in datasets(file, h5py):
            if path[0] not in ("optimizer", "optimizer_weights"):
                found["/".join(path)] = array
    return renumbered({name: array for name, array in found.items() if array.ndim or array.size})


def datasets(group: Any, h5py: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple, Any]]:
    """The arrays below a group, each with its path; of layers of Keras with name and kind alone."""
    if len(path) > DEPTH:  # in a damaged file a group may be within itself
        raise ValueError(f"groups in groups: {'/'.join(path)}")
    for name in group.attrs.get("weight_names", ()):  # of a layer, or of a network in a network
        name = name.decode() if isinstance(name, bytes) else str(name)
        yield tuple(name.removesuffix(":0").split("/")[-2:]), whole(group[name])
    for key in () if len(group.attrs.get("weight_names", ())) else group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(f"{key} is a link to somewhere else")
        value = group[key]
        if key == "vars":
            yield from variables(value, path)
        elif isinstance(value, h5py.Dataset):
            yield inside(path, key), whole(value)
        else:
            yield from datasets(value, h5py, inside(path, key))


def inside(path: tuple[str, ...], key: str) -> tuple[str, ...]:
    """The path of what is in a group; hickle quotes names, and has arrays under "data_0"."""
    plain = key.strip("'\"").removesuffix(":0")
    return path if re.fullmatch(r"data(_\d+)?", plain) else (*path, plain)


def variables(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple, Any]]:
    """The arrays of a layer of Keras 3."""
    name = group.attrs.get("name", path[-1] if path else "")
    kinds = LAYER_ARRAYS.get(len(group), tuple(map(str, range(len(group)))))
    for i, kind in enumerate(kinds):
        first = "optimizer" if path[:1] == ("optimizer",) else str(name)
        yield (first, kind), whole(group[str(i)])


def whole(dataset: Any) -> np.ndarray:
    """All of an array; a compressed one may say that it is larger than memory.

    HDF5 can take the values from other files of the machine: a file of weights has its own.
    """
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name} is in another file")
    if dataset.nbytes > MOST_BYTES:
        raise ValueError(f"{dataset.name} has {dataset.nbytes:,} bytes")
    return dataset[()]


def renumbered(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with layers that Keras named itself counted from 0, each kind in its order.

    Keras counts all layers of a process: a second Inception-v3 begins with "conv2d_94". A network
    that ends in one linear layer has it as "dense"; of several none is the source's classifier.
    """
    own: dict[str, dict[int, str]] = {}
    for name in arrays:
        layer = name.rpartition("/")[0]
        if found := re.fullmatch(r"(conv2d|batch_normalization|dense)(?:_(\d+))?", layer):
            own.setdefault(found[1], {})[int(found[2] or 0)] = layer
    renamed = {
        layer: f"{kind}_{i}"
        for kind, layers in own.items()
        for i, (_, layer) in enumerate(sorted(layers.items()))
    }
    if len(own.get("dense", {})) == 1:
        renamed[next(iter(own["dense"].values()))] = "predictions"
    else:
        arrays = {k: v for k, v in arrays.items() if not re.match(r"dense(_\d+)?/", k)}
    split = ((*name.rpartition("/"), array) for name, array in arrays.items())
    return {f"{renamed.get(layer, layer)}/{kind}": array for layer, _, kind, array in split}
