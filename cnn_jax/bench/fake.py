"""Random images of the size of a data set, for measurements without the data."""

import math

import numpy as np
from ml_collections import ConfigDict

from cnn_jax.analysis import summary
from cnn_jax.data import Dataset, Split
from cnn_jax.errors import UserError

# Image shape [H, W, C] and number of classes; folders have no fixed ones.
SHAPES = {
    "cifar10": ((32, 32, 3), 10),
    "cifar100": ((32, 32, 3), 100),
    "digits": ((8, 8, 1), 10),
    "fashion_mnist": ((28, 28, 1), 10),
}
TRAIN_SIZE, TRAIN_BYTES, HELD_OUT = 10_000, 2**26, 16


def shape_of(
    config: ConfigDict, image: str | None, classes: int | None
) -> tuple[tuple[int, int, int], int]:
    """Image shape and number of classes, as given, or else those of the config's data.

    Raises `UserError` where they are neither given nor known.
    """
    shape, known_classes = SHAPES.get(config.data.name, (None, None))
    view = config.view.train.to_dict()
    if size := view.get("size", config.data.image_size):
        shape = (size, size, 3)
    classes = classes or known_classes
    if shape and not image:
        image = "x".join(map(str, shape))
    if not image or not classes:
        raise UserError(
            f"images of {config.data.name!r} have no fixed size: "
            "give --image=HxWxC and --classes=N with --fake",
            2,
        )
    return summary.input_of(config, image, classes)


def dataset(shape: tuple[int, int, int], classes: int, batch_size: int) -> Dataset:
    """Random uint8 images and labels: at least two batches to train on, and a few held out."""
    rng = np.random.default_rng(0)

    def split(size):
        images = rng.integers(0, 256, (size, *shape), np.uint8)
        return Split(images, rng.integers(0, classes, size, np.int32))

    size = max(2 * batch_size, min(TRAIN_SIZE, TRAIN_BYTES // math.prod(shape)))
    names = tuple(str(label) for label in range(classes))
    held_out = {name: split(HELD_OUT) for name in ("validation", "test")}
    return Dataset(names, {"train": split(size), **held_out})
