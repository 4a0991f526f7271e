"""The embedded data set: 1,797 real handwritten digits, 8x8 pixels in 17 shades of gray.

They come with scikit-learn (the test part of the UCI set "Optical Recognition of Handwritten
Digits"), so nothing is downloaded. The split is fixed and stratified: 1,257 train, 180 validation,
360 test.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cnn_jax.data.dataset import Dataset, Split, stratified

SPLIT_SEED = 0


def load(path: Path | None, image_size: int | None) -> Dataset:
    """Reads the digits as uint8 [N, 8, 8, 1]; takes neither a path nor an image size."""
    del path, image_size
    # Importing scikit-learn takes as long as importing JAX and all else that a run needs.
    (sklearn,) = find_spec("sklearn").submodule_search_locations
    rows = np.loadtxt(Path(sklearn) / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = np.round(rows[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = rows[:, -1].astype(np.int32)
    rest, test = stratified(labels, 360, SPLIT_SEED)
    train, validation = stratified(labels[rest], 180, SPLIT_SEED)
    parts = {"train": rest[train], "validation": rest[validation], "test": test}
    splits = {name: Split(images[index], labels[index]) for name, index in parts.items()}
    return Dataset(tuple(str(digit) for digit in range(10)), splits)
