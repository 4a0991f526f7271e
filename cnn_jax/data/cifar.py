"""CIFAR-10 and CIFAR-100: the published archives, binary or Python, or images, see `load`."""

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax.data import folder, listing, mosaics, packed
from cnn_jax.data.dataset import Dataset, Split, Unfit
from cnn_jax.errors import UserError, first_line

CLASSES = {"cifar10": 10, "cifar100": 100}
# Binary: number of label bytes before the 3,072 of an image; which of them is the label; the file
# of the class names.
BINARY = {"cifar10": (1, 0, "batches.meta.txt"), "cifar100": (2, 1, "fine_label_names.txt")}
# Python: the keys of the labels and of the class names; the file of the class names.
PYTHON = {
    "cifar10": (b"labels", b"label_names", "batches.meta"),
    "cifar100": (b"fine_labels", b"fine_label_names", "meta"),
}
# The files of each split; the names of binary ones also end in .bin.
FILES = {
    "cifar10": {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
    "cifar100": {"train": ["train"], "test": ["test"]},
}
# The names of both versions, packed and unpacked.
PLACES = {
    "cifar10": (
        ("cifar-10-binary.tar.gz", "cifar-10-batches-bin"),
        ("cifar-10-python.tar.gz", "cifar-10-batches-py"),
    ),
    "cifar100": (
        ("cifar-100-binary.tar.gz", "cifar-100-binary"),
        ("cifar-100-python.tar.gz", "cifar-100-python"),
    ),
}


def load_cifar10(path: Path | None, image_size: int | None) -> Dataset:
    """uint8 [N, 32, 32, 3] from `path`, see `load`."""
    return load("cifar10", path, image_size)


def load_cifar100(path: Path | None, image_size: int | None) -> Dataset:
    """uint8 [N, 32, 32, 3] from `path`, with the 100 fine labels; see `load`."""
    return load("cifar100", path, image_size)


def load(name: str, path: Path | None, image_size: int | None) -> Dataset:
    """Reads the data set from what is at `path`.

    That may be a published archive (`cifar-10-binary.tar.gz`, `cifar-10-python.tar.gz`), packed or
    unpacked, a folder with one in it, an image folder `{train,test}/<class>/*.png`, or mosaics,
    `{train,test}/<class>.webp`.
    """
    if path is not None and mosaics.are_in(path):
        return mosaics.load(path)
    if path is not None and listing.has_train(path):
        return folder.load(path, image_size)
    return read_archive(name, find(name, path))


def find(name: str, path: Path | None) -> Path:
    """Finds the archive, or the folder to which it was unpacked."""
    if path is not None and path.is_file():
        return path
    if path is not None:
        inside = [path / place for places in PLACES[name] for place in places]
        test = FILES[name]["test"][0]
        unpacked = (path / test).is_file() or (path / f"{test}.bin").is_file()
        for candidate in (path,) if unpacked else inside:
            if candidate.exists():
                return candidate
    archive = PLACES[name][0][0]
    raise UserError(
        f"{name}: nothing at data.path = {path}. Download {archive} from "
        "https://www.cs.toronto.edu/~kriz/cifar.html and name the file, or its folder, with "
        "--config.data.path=PATH; an image folder {train,test}/<class>/*.png works too"
    )


def read_archive(name: str, place: Path) -> Dataset:
    """Reads an archive, packed or unpacked; the files in it tell whether it is binary or Python."""
    try:
        content = contents(place)
        binary = f"{FILES[name]['test'][0]}.bin" in content
        class_names, splits = (read_binary if binary else read_python)(name, content)
        if len(class_names) != (classes := CLASSES[name]):
            raise ValueError(f"it has the names of {len(class_names)} classes, not of {classes}")
        return Dataset(class_names, splits)
    except Unfit:
        raise
    except KeyError as error:
        raise UserError(f"{name}: {place} has no {error}; get it again") from None
    # gzip, tarfile and pickle raise about anything at damaged files.
    except Exception as error:
        raise UserError(
            f"{name}: cannot read {place} ({first_line(error)}); get it again"
        ) from None


def contents(place: Path) -> dict[str, bytes]:
    """The bytes of each file of an archive or folder, by name."""
    if place.is_dir():
        return {file.name: file.read_bytes() for file in place.iterdir() if file.is_file()}
    return {Path(name).name: data for name, data in packed.read_tar(place)}


def read_binary(name: str, content: dict[str, bytes]) -> tuple[tuple[str, ...], dict[str, Split]]:
    """Records of label bytes, then a 32x32 image plane by plane."""
    label_bytes, label_at, names_file = BINARY[name]

    def batch(file: str) -> tuple[np.ndarray, np.ndarray]:
        records = np.frombuffer(content[f"{file}.bin"], np.uint8).reshape(-1, label_bytes + 3072)
        return records[:, label_bytes:], records[:, label_at]

    splits = splits_of(name, batch)
    return tuple(content[names_file].decode().split()), splits


def read_python(name: str, content: dict[str, bytes]) -> tuple[tuple[str, ...], dict[str, Split]]:
    """Pickled mappings of Python 2: rows of 3,072 values, plane by plane, and a list of labels."""
    labels_key, names_key, names_file = PYTHON[name]

    def batch(file: str) -> tuple[np.ndarray, np.ndarray]:
        read = unpickle(content[file])
        return read[b"data"], np.array(read[labels_key])

    splits, names = splits_of(name, batch), unpickle(content[names_file])[names_key]
    return tuple(word.decode() for word in names), splits


def splits_of(name: str, batch: Callable[[str], tuple[np.ndarray, np.ndarray]]) -> dict[str, Split]:
    """The splits, of batches of rows [n, 3072], plane by plane, and labels [n]."""
    splits = {}
    for split, files in FILES[name].items():
        planes, labels = zip(*(checked(file, *batch(file)) for file in files), strict=True)
        images = np.concatenate(planes).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits[split] = Split(np.ascontiguousarray(images), np.concatenate(labels))
    return splits


def checked(file: str, planes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Raises `ValueError` for a batch without images, or not a label for each of its images."""
    if not len(planes) or planes.shape != (len(labels), 3072):
        raise ValueError(f"{file} has images of the shape {planes.shape} and {len(labels)} labels")
    return planes, labels


def unpickle(data: bytes) -> Any:
    """Reads a pickle of NumPy arrays, lists and strings; raises about anything for other bytes."""
    for count, (instruction, place, _) in enumerate(pickletools.genops(data)):
        # The highest place is how much memory pickle takes; one damaged byte makes it 16 GB.
        if "PUT" in instruction.name and int(place) > count:
            raise pickle.UnpicklingError(f"it numbers a value {place} that is at most {count}")
    return Unpickler(io.BytesIO(data), encoding="bytes").load()


def encode(text: str, encoding: str) -> bytes:
    """`_codecs.encode` for bytes in pickles of Python 3; others would import their encoding."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it has bytes as {encoding!r}, which no CIFAR file does")
    return text.encode("latin1")


RECONSTRUCT = np.empty(0).__reduce__()[0]
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,  # the name before NumPy 2
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): encode,
}


class Unpickler(pickle.Unpickler):
    """Unpickles NumPy arrays and nothing else, and imports nothing: other pickles run any code."""

    def find_class(self, module: str, name: str):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it contains {module}.{name}, which no CIFAR file does")
        return ALLOWED[module, name]
