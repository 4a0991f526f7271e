"""Fashion-MNIST (and MNIST) from the four IDX files as they are published."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from cnn_jax.data import decode, packed
from cnn_jax.data.dataset import Dataset, Split
from cnn_jax.errors import UserError, first_line

CLASSES = {
    "fashion_mnist": (
        "t-shirt/top", "trouser", "pullover", "dress", "coat",
        "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    "mnist": tuple("0123456789"),
}  # fmt: skip
WHERE = {
    "fashion_mnist": "https://github.com/zalandoresearch/fashion-mnist",
    "mnist": "http://yann.lecun.com/exdb/mnist",
}
FILES = (
    "four files, train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
    "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz"
)


def load_fashion_mnist(path: Path | None, image_size: int | None) -> Dataset:
    """uint8 [N, 28, 28, 1] from the folder `path`, or of another size, see `load`."""
    return load("fashion_mnist", path, image_size)


def load_mnist(path: Path | None, image_size: int | None) -> Dataset:
    """uint8 [N, 28, 28, 1] from the folder `path`, or of another size, see `load`."""
    return load("mnist", path, image_size)


def load(name: str, path: Path | None, image_size: int | None = None) -> Dataset:
    """Reads the four files, gzipped or not, from the folder `path`."""
    if path is None or not path.is_dir():
        raise UserError(f"{name}: no folder at data.path = {path}. {how_to_get(name)}")
    splits = {}
    for split, prefix in [("train", "train"), ("test", "t10k")]:
        images = read(find(name, path, f"{prefix}-images-idx3-ubyte"))
        labels = read(find(name, path, f"{prefix}-labels-idx1-ubyte"))
        if image_size:
            images = np.stack([resized(image, image_size) for image in images])
        splits[split] = Split(images[..., None], labels)
    return Dataset(CLASSES[name], splits)


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """A square image [H, W] in another size."""
    return np.asarray(decode.cover(Image.fromarray(image), (size, size)))


def how_to_get(name: str) -> str:
    """Where to get the files, and where to put them."""
    return (
        f"{name} is {FILES}, from {WHERE[name]}; put them into one folder and name it with "
        "--config.data.path=FOLDER"
    )


def find(name: str, folder: Path, file: str) -> Path:
    """Finds a file, gzipped or not."""
    for candidate in (folder / f"{file}.gz", folder / file):
        if candidate.is_file():
            return candidate
    raise UserError(f"{name}: {folder} has no {file}.gz. {how_to_get(name)}")


def read(path: Path) -> np.ndarray:
    """Reads one IDX file of bytes: a magic number, the shape (big-endian), then the values."""
    try:
        data = packed.read_bytes(path)
        if data[:3] != b"\x00\x00\x08":
            raise ValueError("it is no IDX file of bytes")
        shape = np.frombuffer(data, ">u4", data[3], 4).tolist()
        values = np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape))
        if math.prod(shape) != values.size:
            raise ValueError(f"it has {values.size:,} values in place of {shape}")
        return values.reshape(shape)
    # gzip, zlib and NumPy raise about anything at damaged files.
    except Exception as error:
        raise UserError(f"cannot read {path} ({first_line(error)}); get the file again") from None
