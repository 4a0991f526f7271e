"""What a data set is: named splits of images and labels."""

import zlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from cnn_jax import errors


class Split(NamedTuple):
    images: np.ndarray  # uint8 [N, H, W, C]
    labels: np.ndarray  # int32 [N]


@dataclass(frozen=True)
class Dataset:
    class_names: tuple[str, ...]
    splits: dict[str, Split]  # "train", "test", and "validation" where there is one; never the same

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return self.splits["train"].images.shape[1:]

    def facts(self) -> dict[str, Any]:
        """What tells this data from other data, as JSON values; reads every image."""
        checksum = 0
        for name in sorted(self.splits):
            for array in self.splits[name]:
                checksum = zlib.crc32(np.ascontiguousarray(array), checksum)
        return {
            "class_names": list(self.class_names),
            "image_shape": list(self.image_shape),
            "examples": {name: len(split.labels) for name, split in self.splits.items()},
            "checksum": checksum,
        }


def stratified(labels: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint index arrays, the second of `size` examples with each class by its share."""
    from sklearn.model_selection import train_test_split

    rest, held = train_test_split(
        np.arange(len(labels)), test_size=size, stratify=labels, random_state=seed
    )
    return np.sort(rest), np.sort(held)


def hold_out(dataset: Dataset, size: int, seed: int) -> Dataset:
    """Moves `size` images of "train" to "validation"."""
    images, labels = dataset.splits["train"]
    classes, total = len(dataset.class_names), len(labels)
    if not classes <= size <= total - classes:
        raise errors.UserError(
            f"cannot hold {size:,} of {total:,} training images out for validation: "
            f"set data.validation_size between {classes:,} and {total - classes:,}, or to 0"
        )
    rest, held = stratified(labels, size, seed)
    splits = dataset.splits | {
        "train": Split(images[rest], labels[rest]),
        "validation": Split(images[held], labels[held]),
    }
    return replace(dataset, splits=splits)
