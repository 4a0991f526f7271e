"""Images that stay encoded, read one by one in any order, for data that does not fit in memory.

A `Source` can be pickled, for worker processes, and read from several threads.
"""

import functools
import hashlib
import os
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from cnn_jax.data import decode, listing
from cnn_jax.errors import UserError


class Source(Protocol):
    """What `reader` reads: N encoded images with labels."""

    labels: np.ndarray  # int32 [N]
    class_names: tuple[str, ...]
    channels: int  # 1 where all images are gray, else 3

    def __len__(self) -> int: ...

    def encoded(self, i: int) -> bytes:
        """The bytes of image `i` as stored."""

    def where(self, i: int) -> str:
        """The name of image `i` in messages."""

    def checksum(self) -> int:
        """A checksum of names and labels, the same wherever the files lie; reads no image."""

    def fingerprint(self) -> str:
        """A digest that also depends on the place, sizes and modification times of the files."""


@dataclass(frozen=True)
class FolderSource:
    """Image files in one folder per class."""

    root: Path
    files: tuple[str, ...]  # relative to root, in a fixed order
    labels: np.ndarray  # int32 [N]
    class_names: tuple[str, ...]
    channels: int = 3

    def __len__(self) -> int:
        return len(self.files)

    def encoded(self, i: int) -> bytes:
        return (self.root / self.files[i]).read_bytes()

    def where(self, i: int) -> str:
        return str(self.root / self.files[i])

    def checksum(self) -> int:
        return zlib.crc32(os.fsencode("\n".join(self.files)), zlib.crc32(self.labels))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(os.fsencode(self.root.resolve()))
        for file in self.files:
            stat = (self.root / file).stat()
            digest.update(os.fsencode(f"{file} {stat.st_size} {stat.st_mtime_ns}\n"))
        return digest.hexdigest()


@dataclass(frozen=True)
class Subset:
    """A part of a source."""

    source: Source
    index: np.ndarray  # int [N], the examples of the source that it has
    labels: np.ndarray  # int32 [N], of these

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
    """Pixels that need no decoding, for `views.raw`: they show how fast the model alone is."""

    size: int  # side of the images
    labels: np.ndarray
    class_names: tuple[str, ...]
    random: bool  # noise, else one shade of gray
    channels = 3

    def __len__(self) -> int:
        return len(self.labels)

    def encoded(self, i: int) -> bytes:
        # Each example is another window of the same noise, which is made once.
        start = i % NOISE_SHIFTS
        return noise(self.size, self.random)[start : start + self.size**2 * 3]

    def where(self, i: int) -> str:
        return f"fake image {i}"

    def distinct(self) -> "FakeSource":
        """The first examples, up to where the windows begin again: statistics need no more."""
        return replace(self, labels=self.labels[:NOISE_SHIFTS])

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
    """The bytes of which fake images are windows."""
    count = size**2 * 3 + NOISE_SHIFTS
    return np.random.default_rng(0).bytes(count) if random else bytes([128]) * count


def fake(examples: int, classes: int, size: int, random: bool) -> FakeSource:
    """`examples` images of noise or gray, of `size` pixels a side, labeled 0, 1, ... in turn."""
    if min(examples, classes, size) < 1:
        raise UserError(
            f"fake data of {examples} images, {classes} classes, {size} pixels: no data"
        )
    labels = np.arange(examples, dtype=np.int32) % classes
    return FakeSource(size, labels, tuple(f"class {i}" for i in range(classes)), random)


def folder(
    root: Path | None, class_list: Path | None, exclude: Path | None = None
) -> dict[str, Source]:
    """The splits of an image folder.

    Args:
      root, class_list: see `listing.find`.
      exclude: a text file of images to leave out, one in a line: a file's name, with or without its
        folder, or the number of one of ImageNet's validation images, as in the list of 1,762
        "blacklisted" ones that is in its development kit. It warns how many are left out.

    Raises:
      UserError: what `listing.find` refuses, a list that cannot be read, or of which no image is
        there.
    """
    class_names, splits = listing.find(root, class_list)
    channels = find_channels(splits)
    sources = {
        split: FolderSource(place, names, labels, class_names, channels)
        for split, (place, names, labels) in splits.items()
    }
    return without(sources, exclude) if exclude else sources


def find_channels(splits: Mapping[str, listing.Files]) -> int:
    """1 where the header of every image says that it is gray, as in memory; else 3.

    It stops at the first that is not, which is mostly the very first.
    """
    known = False
    for files in splits.values():
        for name in files.names:
            is_gray = decode.says_gray(files.root / name)
            if is_gray is False:
                return 3
            known = known or is_gray is True
    return 1 if known else 3


def without(sources: dict[str, FolderSource], exclude: Path) -> dict[str, Source]:
    """The splits without the images that the file `exclude` lists, see `folder`."""
    lines = map(str.strip, listing.read_lines(exclude, "images to leave out"))
    names = {f"ILSVRC2012_val_{int(s):08d}.JPEG" if s.isdecimal() else s for s in lines if s}
    kept = {
        split: [i for i, file in enumerate(s.files) if names.isdisjoint((file, Path(file).name))]
        for split, s in sources.items()
    }
    left_out = {s: len(source) - len(kept[s]) for s, source in sources.items()}
    if not any(left_out.values()):
        listed = f"of the {len(names):,} images that {exclude} lists"
        raise UserError(f"data.exclude: none {listed} is in the data")
    for split, count in left_out.items():
        if count == len(sources[split]):
            raise UserError(f"data.exclude: {exclude} lists all images of {split!r}")
        if count:
            total = f"{len(sources[split]):,} images of {split!r}"
            warnings.warn(f"data.exclude: {count:,} of {total} are left out", stacklevel=2)
    return {
        split: subset(s, np.array(kept[split])) if left_out[split] else s
        for split, s in sources.items()
    }
