"""CIFAR-10 and CIFAR-100: the published archives, binary or Python, or images, see `load`."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np

from cnn_jax.data import folder, mosaics
from cnn_jax.data.dataset import Dataset, Split
from cnn_jax.errors import UserError, first_line

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
    if path is not None and (path / "train").is_dir():
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
    except KeyError as error:
        raise UserError(f"{name}: {place} has no {error}; get it again") from None
    except (tarfile.TarError, pickle.UnpicklingError, OSError, EOFError, ValueError) as error:
        raise UserError(
            f"{name}: cannot read {place} ({first_line(error)}); get it again"
        ) from None
    return Dataset(class_names, splits)


def contents(place: Path) -> dict[str, bytes]:
    """The bytes of each file of an archive or folder, by name."""
    if place.is_dir():
        return {file.name: file.read_bytes() for file in place.iterdir() if file.is_file()}
    with tarfile.open(place) as tar:
        return {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}


def read_binary(name: str, content: dict[str, bytes]) -> tuple[tuple[str, ...], dict[str, Split]]:
    """Records of label bytes, then a 32x32 image plane by plane."""
    label_bytes, label_at, names_file = BINARY[name]
    splits = {}
    for split, files in FILES[name].items():
        raw = np.frombuffer(b"".join(content[f"{file}.bin"] for file in files), np.uint8)
        records = raw.reshape(-1, label_bytes + 3072)
        splits[split] = split_of(records[:, label_bytes:], records[:, label_at])
    return tuple(content[names_file].decode().split()), splits


def read_python(name: str, content: dict[str, bytes]) -> tuple[tuple[str, ...], dict[str, Split]]:
    """Pickled mappings of Python 2: rows of 3,072 values, plane by plane, and a list of labels."""
    labels_key, names_key, names_file = PYTHON[name]
    splits = {}
    for split, files in FILES[name].items():
        batches = [Unpickler(content[file]).load() for file in files]
        planes = np.concatenate([batch[b"data"] for batch in batches])
        splits[split] = split_of(planes, np.concatenate([batch[labels_key] for batch in batches]))
    names = Unpickler(content[names_file]).load()[names_key]
    return tuple(word.decode() for word in names), splits


def split_of(planes: np.ndarray, labels: np.ndarray) -> Split:
    """From uint8 [N, 3072], plane by plane, to images [N, 32, 32, 3]."""
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), labels.astype(np.int32))


class Unpickler(pickle.Unpickler):
    """Unpickles NumPy arrays and nothing else: other pickles could run any code."""

    ALLOWED = ("_reconstruct", "ndarray", "dtype", "encode")

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data), encoding="bytes")

    def find_class(self, module: str, name: str):
        if module.split(".")[0] not in ("numpy", "_codecs") or name not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it contains {module}.{name}, which no CIFAR file does")
        # numpy.core is called numpy._core since NumPy 2; the old name warns.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
