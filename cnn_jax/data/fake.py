"""`fake:EXAMPLES,CLASSES`: noise in place of images, so that a network is measured without files.

In memory the images have `data.image_size` pixels a side, else CIFAR's 32; of a stream the view
sets their size, see `stream.sources.FakeSource`.
"""

import numpy as np

from cnn_jax.data.dataset import Dataset, Split, check_memory
from cnn_jax.errors import UserError

SIDE = 32
MOST = 2**31 - 1  # examples: their numbers are int32


def sizes(name: str) -> tuple[dict[str, int], int]:
    """The examples of each split, where "test" is a twentieth of "train", and the classes."""
    parts = name.removeprefix("fake:").split(",")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise UserError(f"data.name {name!r}: write fake:EXAMPLES,CLASSES, of at least one each", 2)
    examples, classes = map(int, parts)
    if max(examples, classes) > MOST:
        raise UserError(f"data.name {name!r}: there may be at most {MOST:,} of each", 2)
    return {"train": examples, "test": max(1, examples // 20)}, classes


def load(name: str, image_size: int | None) -> Dataset:
    """Random uint8 images [N, side, side, 3], labeled 0, 1, ... in turn."""
    splits, classes = sizes(name)
    shape = (image_size or SIDE,) * 2 + (3,)
    check_memory(name, sum(splits.values()), shape)
    rng = np.random.default_rng(0)
    made = {
        split: Split(
            rng.integers(0, 256, (size, *shape), np.uint8),
            np.arange(size, dtype=np.int32) % classes,
        )
        for split, size in splits.items()
    }
    return Dataset(tuple(f"class {i}" for i in range(classes)), made)
