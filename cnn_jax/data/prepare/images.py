"""Where the images of a published archive are: read one by one, in a fixed order, from anywhere.

Each class has `labels` (int32 [N]), `encoded(i)` (the bytes of an image file), `identity(i)` (a
name for people), `nbytes` (about how much there is) and a length; all may be read from threads.
"""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image


class ArrayExamples:
    """Images in memory, uint8 [N, H, W, 1 or 3]; encoded as PNG, which loses nothing."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, name: str):
        self.labels, self._images, self._name = labels, images, name
        self.nbytes = images.nbytes

    def __len__(self) -> int:
        return len(self._images)

    def encoded(self, index: int) -> bytes:
        """A PNG."""
        image, out = self._images[index], io.BytesIO()
        image = image[..., 0] if image.shape[-1] == 1 else image
        Image.fromarray(np.ascontiguousarray(image)).save(out, "PNG")
        return out.getvalue()

    def identity(self, index: int) -> str:
        """Its place in the archive."""
        return f"{self._name}/{index:05d}"


class FileExamples:
    """Image files, as they are."""

    def __init__(self, files: list[Path], labels: np.ndarray):
        self.labels, self._files = labels, files
        self.nbytes = sum(file.stat().st_size for file in files)

    def __len__(self) -> int:
        return len(self._files)

    def encoded(self, index: int) -> bytes:
        """The file."""
        return self._files[index].read_bytes()

    def identity(self, index: int) -> str:
        """Its class folder and its name."""
        file = self._files[index]
        return f"{file.parent.name}/{file.name}"


class TarExamples:
    """Image files inside a tar that is not compressed, read from where they lie in it."""

    def __init__(self, tar: Path, names: list[str], places: np.ndarray, labels: np.ndarray):
        """`places`: int64 [N, 2], offset and size of each in bytes."""
        self.labels, self._names, self._places = labels, names, places
        self.nbytes = int(places[:, 1].sum())
        self._file = tar.open("rb")

    def __len__(self) -> int:
        return len(self._names)

    def encoded(self, index: int) -> bytes:
        """The file, without moving a position that other threads read from."""
        offset, size = self._places[index].tolist()
        return os.pread(self._file.fileno(), size, offset)

    def identity(self, index: int) -> str:
        """Its name in the tar."""
        return self._names[index]
