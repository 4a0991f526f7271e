"""Images that stay encoded, read one by one in any order, for data that does not fit in memory.

A source has `len(source)`, `source.encoded(i) -> bytes`, `source.where(i) -> str` for messages,
`source.labels`, int32 [N], and `source.class_names`. It can be pickled, for worker processes, and
read from threads.
"""

import functools
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from cnn_jax.data.folder import CLASS_LIST, split_folders
from cnn_jax.errors import UserError

LAYOUT = "{train,validation,test}/<class>/<image files>, or as <class>/<image files>"


class Source(Protocol):
    """What `streaming` reads."""

    labels: np.ndarray  # int32 [N]
    class_names: tuple[str, ...]
    channels: int  # 1 where all images are gray, else 3

    def __len__(self) -> int: ...

    def encoded(self, i: int) -> bytes:
        """The bytes of image `i` as they are stored."""

    def where(self, i: int) -> str:
        """Which image that is, for a message."""

    def checksum(self) -> int:
        """Of the names and labels, wherever the files lie: cheap, and of no image read."""

    def fingerprint(self) -> str:
        """A digest that also changes with the place, the sizes and the times of the files."""


@dataclass(frozen=True)
class FolderSource:
    """Image files in one folder per class; every file counts that is not hidden."""

    root: Path
    files: tuple[str, ...]  # relative to root, in a fixed order
    labels: np.ndarray  # int32 [N]
    class_names: tuple[str, ...]
    channels = 3

    def __len__(self) -> int:
        return len(self.files)

    def encoded(self, i: int) -> bytes:
        return (self.root / self.files[i]).read_bytes()

    def where(self, i: int) -> str:
        return str(self.root / self.files[i])

    def checksum(self) -> int:
        return zlib.crc32("\n".join(self.files).encode(), zlib.crc32(self.labels))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(str(self.root.resolve()).encode())
        for file in self.files:
            stat = (self.root / file).stat()
            digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Subset:
    """Some examples of a source."""

    source: Source
    index: np.ndarray  # int [N], those that it has
    labels: np.ndarray  # int32 [N], theirs

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.source.class_names

    @property
    def channels(self) -> int:
        return self.source.channels

    def __len__(self) -> int:
        return len(self.index)

    def encoded(self, i: int) -> bytes:
        return self.source.encoded(int(self.index[i]))

    def where(self, i: int) -> str:
        return self.source.where(int(self.index[i]))

    def checksum(self) -> int:
        return zlib.crc32(self.index, self.source.checksum())

    def fingerprint(self) -> str:
        return f"{self.source.fingerprint()}-{zlib.crc32(self.index)}"


@dataclass(frozen=True)
class FakeSource:
    """Pixels that need no decoding, for `views.raw`: what is left of the time is the model's."""

    size: int  # side of the images
    labels: np.ndarray
    class_names: tuple[str, ...]
    random: bool  # or all of one gray
    channels = 3

    def __len__(self) -> int:
        return len(self.labels)

    def encoded(self, i: int) -> bytes:
        # Windows of one sheet of noise, of which each example has its own: made once, not N times.
        start = i % NOISE_SHIFTS
        return noise(self.size, self.random)[start : start + self.size**2 * 3]

    def where(self, i: int) -> str:
        return f"fake image {i}"

    def checksum(self) -> int:
        return zlib.crc32(self.labels)

    def fingerprint(self) -> str:
        return f"fake-{self.size}-{self.random}-{self.checksum()}"


def subset(source: Source, index: np.ndarray) -> Subset:
    """The examples `index` [N] of a source."""
    return Subset(source, index, source.labels[index])


NOISE_SHIFTS = 4096


@functools.lru_cache(maxsize=1)
def noise(size: int, random: bool) -> bytes:
    """The bytes that fake images are cut out of."""
    count = size**2 * 3 + NOISE_SHIFTS
    return np.random.default_rng(0).bytes(count) if random else bytes([128]) * count


def fake(examples: int, classes: int, size: int, random: bool) -> FakeSource:
    """`examples` images of noise, or all gray, of `size` pixels; the labels go round."""
    if min(examples, classes, size) < 1:
        raise UserError(
            f"fake data of {examples} images, {classes} classes, {size} pixels: no data"
        )
    labels = np.arange(examples, dtype=np.int32) % classes
    return FakeSource(size, labels, tuple(f"class {i}" for i in range(classes)), random)


def folder(root: Path | None, class_list: Path | None) -> dict[str, FolderSource]:
    """The splits of an image folder.

    Args:
      root: laid out as `LAYOUT`, see `split_folders`.
      class_list: a text file whose line i starts with the name of the folder of label i - 1, the
        rest of the line is a remark; the folders may be some of them only. None: the file
        `synsets.tsv` in `root` where there is one, else the folders of "train", in alphabetical
        order.

    Raises:
      UserError: no such folder, no images, a class without images (in "train", where there is no
        `class_list`), a class that "train" or the list lacks, a list that cannot be read.
    """
    if root is None or not root.is_dir():
        raise UserError(f"no folder at data.path = {root}; it must be laid out as {LAYOUT}")
    roots = split_folders(root)
    if class_list is None and (root / CLASS_LIST).is_file():
        class_list = root / CLASS_LIST
    names = read_class_list(class_list) if class_list else subfolders(roots["train"])
    if not names:
        raise UserError(f"folder: no classes in {roots['train']}; it must be laid out as {LAYOUT}")
    known = class_list or roots["train"]
    sources = {split: list_files(place, names, known) for split, place in roots.items()}
    counts = np.bincount(sources["train"].labels, minlength=len(names))
    if class_list is None and not counts.all():
        empty = names[int(np.argmin(counts))]
        raise UserError(
            f"folder: class {empty!r} has no images in {roots['train']}; add some or remove it"
        )
    return sources


def list_files(root: Path, class_names: tuple[str, ...], known: Path) -> FolderSource:
    """All images of one split, by class and name. Raises `UserError`."""
    label = {name: i for i, name in enumerate(class_names)}
    files, labels = [], []
    for name in subfolders(root):
        if name not in label:
            raise UserError(f"folder: {root} has a class {name!r} that {known} lacks")
        with os.scandir(root / name) as entries:
            inside = sorted(e.name for e in entries if e.is_file() and not e.name.startswith("."))
        files += [f"{name}/{file}" for file in inside]
        labels += [label[name]] * len(inside)
    if not files:
        raise UserError(f"folder: no images in {root}; it must be laid out as {LAYOUT}")
    return FolderSource(root, tuple(files), np.array(labels, np.int32), class_names)


def subfolders(root: Path) -> tuple[str, ...]:
    """The names of the folders in a folder, hidden ones apart, in alphabetical order."""
    with os.scandir(root) as entries:
        return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))


def read_class_list(path: Path) -> tuple[str, ...]:
    """The first word of each line. Raises `UserError` for a file that cannot be a list."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list of classes {path}: {error}") from None
    names: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise UserError(f"{path}, line {number}: empty; line i names the class of label i - 1")
        name = line.split()[0]
        if name in names:
            raise UserError(f"{path}, line {number}: {name!r} stands in line {names[name]} too")
        names[name] = number
    return tuple(names)
