"""SVHN, the cropped digits (format 2), from the three .mat files as published."""

import math
from pathlib import Path

import numpy as np

from cnn_jax.data.dataset import Dataset, Split
from cnn_jax.data.packed import most_bytes
from cnn_jax.errors import UserError, first_line

HOW_TO_GET = (
    "svhn_cropped is train_32x32.mat and test_32x32.mat, and extra_32x32.mat for those who train "
    "on it too, from http://ufldl.stanford.edu/housenumbers; put them into one folder"
)


def load(path: Path) -> Dataset:
    """Reads the splits "train", "test" and, where there is a file, "extra": uint8 [N, 32, 32, 3].

    They are held in memory: 1.6 GB for the 531,131 images of "extra".
    """
    splits = {}
    for split in ("train", "test", "extra"):
        file = path / f"{split}_32x32.mat"
        if file.is_file():
            splits[split] = read_mat(file)
        elif split != "extra":
            raise UserError(f"svhn_cropped: {path} has no {file.name}. {HOW_TO_GET}")
    return Dataset(tuple("0123456789"), splits)


def read_mat(file: Path) -> Split:
    """Reads a file with X, uint8 [32, 32, 3, N], and y, [N, 1], where 10 stands for the digit 0."""
    from scipy.io import loadmat, whosmat

    size = file.stat().st_size
    try:
        shapes = {name: shape for name, shape, _ in whosmat(file)}  # unpacks nothing else
        if shapes["X"][:3] != (32, 32, 3) or math.prod(shapes["X"]) > most_bytes(size):
            raise ValueError(f"X is {shapes['X']}")
        content = loadmat(file, variable_names={"X", "y"})
        images, labels = np.moveaxis(content["X"], -1, 0), content["y"].ravel()
    # scipy raises about anything at bytes that are no .mat, NotImplementedError among them
    except Exception as error:
        raise UserError(f"cannot read {file} ({first_line(error)}); get the file again") from None
    if len(labels) != len(images) or not np.isin(labels, np.arange(1, 11)).all():
        raise UserError(f"{file}: y is not a digit, 1 to 10, for each image; get the file again")
    return Split(images, labels.astype(np.int32) % 10)
