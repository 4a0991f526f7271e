"""Fashion-MNIST (and MNIST) from the four IDX files as they are published."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from cnn_jax.data.dataset import Dataset, Split
from cnn_jax.errors import UserError

CLASSES = (
    "t-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
HOW_TO_GET = (
    "Fashion-MNIST is four files, train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
    "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz, from "
    "https://github.com/zalandoresearch/fashion-mnist; put them into one folder and name it with "
    "--config.data.path=FOLDER"
)


def load(path: Path | None, image_size: int | None) -> Dataset:
    """Reads the four files, gzipped or not, from the folder `path`: uint8 [N, 28, 28, 1]."""
    del image_size
    if path is None or not path.is_dir():
        raise UserError(f"fashion_mnist: no folder at data.path = {path}. {HOW_TO_GET}")
    splits = {}
    for split, prefix in [("train", "train"), ("test", "t10k")]:
        images = read(find(path, f"{prefix}-images-idx3-ubyte"))
        labels = read(find(path, f"{prefix}-labels-idx1-ubyte"))
        if images.ndim != 3 or labels.shape != images.shape[:1] or labels.max() > 9:
            raise UserError(
                f"fashion_mnist: the {split} files in {path} do not fit together "
                f"(images {images.shape}, labels {labels.shape})"
            )
        splits[split] = Split(images[..., None], labels.astype(np.int32))
    return Dataset(CLASSES, splits)


def find(folder: Path, name: str) -> Path:
    """The file `name`, or `name.gz`."""
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    raise UserError(f"fashion_mnist: {folder} has no {name}.gz. {HOW_TO_GET}")


def read(path: Path) -> np.ndarray:
    """Reads one IDX file of bytes: a magic number, the shape (big-endian), then the values."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        dimensions = data[3]
        shape = tuple(np.frombuffer(data, ">i4", dimensions, 4))
        if data[:3] != b"\x00\x00\x08":
            raise ValueError("not an IDX file of bytes")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise UserError(
            f"fashion_mnist: cannot read {path} ({error}); get the file again"
        ) from None
