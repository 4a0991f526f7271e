"""The data sets in published archives: `find(name, folder)` finds one in a folder."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnn_jax import errors
from cnn_jax.data import cifar, folder, idx
from cnn_jax.data.dataset import Dataset
from cnn_jax.data.prepare import imagenet, svhn
from cnn_jax.data.prepare.images import ArrayExamples, FileExamples, TarExamples
from cnn_jax.errors import UserError

# The number of images in each split, as published.
COUNTS = {
    "cifar10": {"train": 50_000, "test": 10_000},
    "cifar100": {"train": 50_000, "test": 10_000},
    "fashion_mnist": {"train": 60_000, "test": 10_000},
    "imagenet2012": {"train": 1_281_167, "validation": 50_000},
    "mnist": {"train": 60_000, "test": 10_000},
    "svhn_cropped": {"train": 73_257, "test": 26_032, "extra": 531_131},
}


@dataclass(frozen=True)
class Published:
    """A data set as published, before it is prepared."""

    class_names: tuple[str, ...]
    splits: dict[str, ArrayExamples | FileExamples | TarExamples]
    files: list[Path]  # from which it was read, for the fingerprint

    def fingerprint(self) -> str:
        """A digest of the names, sizes and modification times of the files."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for file in self.files:
            stat = file.stat()
            line = f"{file.parent.name}/{file.name} {stat.st_size} {stat.st_mtime_ns}\n"
            digest.update(line.encode())
        return digest.hexdigest()


def find(name: str, path: Path) -> Published:
    """Finds the archives of the data set `name` in the folder `path`.

    With a name that is not in `COUNTS`, `path` is an image folder.

    Raises:
      UserError: no such folder, unknown name, missing or damaged files, labels that do not fit.
    """
    if name not in COUNTS and not (path / "train").is_dir():
        error = errors.unknown("data set", name, COUNTS)
        raise UserError(f"{error}; or any name, with --from an image folder {folder.LAYOUT}", 2)
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise UserError(f"{name!r} cannot name a data set: use a-z, 0-9 and _, a letter first", 2)
    if not path.exists():
        raise UserError(f"{name}: there is no {path}; name the folder of its files with --from=DIR")
    if name in ("mnist", "fashion_mnist"):
        found = from_dataset(idx.load(name, path), sorted(path.glob("*-ubyte*")))
    elif name == "svhn_cropped":
        found = from_dataset(svhn.load(path), sorted(path.glob("*_32x32.mat")))
    elif name == "imagenet2012":
        found = Published(*imagenet.read(path))
    elif (path / "train").is_dir():
        found = from_folder(path)
    else:
        place = cifar.find(name, path)
        files = sorted(place.iterdir()) if place.is_dir() else [place]
        found = from_dataset(cifar.read_archive(name, place), files)
    for split, examples in found.splits.items():
        if not len(examples):
            raise UserError(f"{name}: there are no images for {split} in {path}")
        if (highest := examples.labels.max()) >= len(found.class_names):
            raise UserError(
                f"{name}: {split} in {path} has label {highest}, but there are "
                f"{len(found.class_names)} classes: the labels belong to something else"
            )
    return found


def from_dataset(dataset: Dataset, files: list[Path]) -> Published:
    """A data set that was read into memory from `files`."""
    splits = {name: ArrayExamples(*split, name) for name, split in dataset.splits.items()}
    return Published(dataset.class_names, splits, files)


def from_folder(path: Path) -> Published:
    """An image folder, with its classes in alphabetical order."""
    class_names, files = folder.find_images(path)
    label = {name: i for i, name in enumerate(class_names)}
    splits = {}
    for split, members in files.items():
        labels = np.array([label[file.parent.name] for file in members], np.int32)
        splits[split] = FileExamples(members, labels)
    return Published(class_names, splits, [f for members in files.values() for f in members])
