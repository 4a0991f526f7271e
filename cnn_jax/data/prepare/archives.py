"""The data sets in published archives: `find(name, folder)` finds one in a folder."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cnn_jax import errors
from cnn_jax.data import COUNTS, cifar, idx, listing
from cnn_jax.data.dataset import Dataset, check_labels, named
from cnn_jax.data.prepare import imagenet, svhn
from cnn_jax.data.prepare.images import ArrayExamples, FileExamples, TarExamples
from cnn_jax.errors import UserError


@dataclass(frozen=True)
class Published:
    """A data set as published, before it is prepared; raises `Unfit` for labels of another."""

    class_names: tuple[str, ...]
    splits: dict[str, ArrayExamples | FileExamples | TarExamples]
    files: list[Path]  # from which it was read, for the fingerprint

    def __post_init__(self):
        labels = {split: examples.labels for split, examples in self.splits.items()}
        counts = {split: len(examples) for split, examples in self.splits.items()}
        check_labels(self.class_names, labels, counts)

    def fingerprint(self) -> str:
        """A digest of the names, sizes and modification times of the files."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for file in self.files:
            stat = file.stat()
            line = f"{file.parent.name}/{file.name} {stat.st_size} {stat.st_mtime_ns}\n"
            digest.update(os.fsencode(line))
        return digest.hexdigest()


def find(name: str, path: Path) -> Published:
    """Finds the archives of the data set `name` in the folder `path`.

    With a name that is not in `COUNTS`, `path` is an image folder.

    Raises:
      UserError: no such folder, unknown name, missing or damaged files, labels that do not fit.
    """
    if name not in COUNTS and not listing.has_images(path):
        error = errors.unknown("data set", name, COUNTS)
        raise UserError(f"{error}; or any name, with --from an image folder {listing.LAYOUT}", 2)
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise UserError(f"{name!r} cannot name a data set: use a-z, 0-9 and _, a letter first", 2)
    if not path.exists():
        raise UserError(f"{name}: there is no {path}; name the folder of its files with --from=DIR")
    with named(name, path):
        return read(name, path)


def read(name: str, path: Path) -> Published:
    """See `find`."""
    if name in ("mnist", "fashion_mnist"):
        return from_dataset(idx.load(name, path), sorted(path.glob("*-ubyte*")))
    if name == "svhn_cropped":
        return from_dataset(svhn.load(path), sorted(path.glob("*_32x32.mat")))
    if name == "imagenet2012":
        return Published(*imagenet.read(path))
    if name not in COUNTS or listing.has_train(path):
        return from_folder(path)
    place = cifar.find(name, path)
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    return from_dataset(cifar.read_archive(name, place), files)


def from_dataset(dataset: Dataset, files: list[Path]) -> Published:
    """A data set that was read into memory from `files`."""
    splits = {name: ArrayExamples(*split, name) for name, split in dataset.splits.items()}
    return Published(dataset.class_names, splits, files)


def from_folder(path: Path) -> Published:
    """An image folder, see `listing.find`."""
    class_names, found = listing.find(path)
    splits = {split: FileExamples(files.paths, files.labels) for split, files in found.items()}
    return Published(class_names, splits, [f for files in found.values() for f in files.paths])
