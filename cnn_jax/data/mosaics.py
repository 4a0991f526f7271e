"""Small images as one lossless picture a class, `{train,test}/<class>.webp`, row by row.

CIFAR-10 takes 98 MB so, instead of the 170 of its archive.
"""

from pathlib import Path

import numpy as np

from cnn_jax.data.dataset import Dataset, Split
from cnn_jax.data.decode import BadImage, full
from cnn_jax.errors import UserError, first_line

SIDE = 32  # of an image, in pixels


def are_in(path: Path) -> bool:
    """Whether a folder has mosaics."""
    return bool(names(path))


def names(path: Path) -> list[str]:
    """The classes of the training mosaics; macOS leaves files `._x.webp` beside those it copies."""
    files = (path / "train").glob("*.webp")
    return sorted(file.stem for file in files if not file.name.startswith("."))


def load(path: Path) -> Dataset:
    """uint8 [N, 32, 32, 3], class by class; raises `UserError` for a damaged or a missing one."""
    class_names, splits = names(path), {}
    for split in ("train", "test"):
        images = [tiles(path / split / f"{name}.webp") for name in class_names]
        labels = np.repeat(np.arange(len(images), dtype=np.int32), [len(own) for own in images])
        splits[split] = Split(np.concatenate(images), labels)
    return Dataset(tuple(class_names), splits)


def tiles(file: Path) -> np.ndarray:
    """The images of a mosaic."""
    try:
        mosaic = full(file.read_bytes(), None, mode="RGB")
    except (OSError, BadImage) as error:
        raise UserError(f"cannot read {file} ({first_line(error)}); get it again") from None
    rows, columns = (length // SIDE for length in mosaic.shape[:2])
    if mosaic.shape[:2] != (rows * SIDE, columns * SIDE):
        raise UserError(f"{file} is no mosaic of images of {SIDE} x {SIDE} pixels")
    grid = mosaic.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)
    return grid.reshape(-1, SIDE, SIDE, 3)
