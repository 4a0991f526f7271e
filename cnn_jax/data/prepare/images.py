"""The images of a published archive, read one by one in a fixed order, wherever they lie.

Each class has `labels` (int32 [N]), `encoded(i)` (the bytes of an image file), `identity(i)` (a
name for people), `nbytes` (the size of all images, roughly) and a length. Threads may share one.
"""

import io
import os
from pathlib import Path

import numpy as np

from cnn_jax.data import decode


class ArrayExamples:
    """Images in memory, uint8 [N, H, W, 1 or 3]; encoded as PNG, which loses nothing."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, name: str):
        self.labels, self._images, self._name = labels, images, name
        self.nbytes = images.nbytes

    def __len__(self) -> int:
        return len(self._images)

    def encoded(self, index: int) -> bytes:
        """The image as a PNG file."""
        out = io.BytesIO()
        decode.from_array(self._images[index]).save(out, "PNG")
        return out.getvalue()

    def identity(self, index: int) -> str:
        """The split and the number in it."""
        return f"{self._name}/{index:05d}"


class FileExamples:
    """Image files in folders."""

    def __init__(self, files: list[Path], labels: np.ndarray):
        self.labels, self._files = labels, files
        self.nbytes = sum(file.stat().st_size for file in files)

    def __len__(self) -> int:
        return len(self._files)

    def encoded(self, index: int) -> bytes:
        """The bytes of the file."""
        return self._files[index].read_bytes()

    def identity(self, index: int) -> str:
        """The folder of the class and the name of the file."""
        file = self._files[index]
        # What is no UTF-8 in a name cannot be stored.
        return os.fsencode(f"{file.parent.name}/{file.name}").decode(errors="replace")


class TarExamples:
    """Image files in a tar that is not compressed, read in place."""

    def __init__(self, tar: Path, names: list[str], places: np.ndarray, labels: np.ndarray):
        """`places`: int64 [N, 2], the offset and the size of each image in the tar, in bytes."""
        self.labels, self._names, self._places = labels, names, places
        self.nbytes = int(places[:, 1].sum())
        self._file = tar.open("rb")

    def __len__(self) -> int:
        return len(self._names)

    def encoded(self, index: int) -> bytes:
        """The bytes of the file."""
        offset, size = self._places[index].tolist()
        # Moves no file position, which other threads would move too.
        return os.pread(self._file.fileno(), size, offset)

    def identity(self, index: int) -> str:
        """The name in the tar."""
        return self._names[index]
