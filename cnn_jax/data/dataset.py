"""What a data set is: named splits of images and labels, and the order in which they come."""

import functools
import math
import zlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from cnn_jax import errors

ROW = 128  # bytes
MEMORY_LIMIT = 4 * 2**30  # bytes of decoded images; SVHN with extra has 1.9e9


class Split(NamedTuple):
    images: np.ndarray  # uint8 [N, H, W, C]
    labels: np.ndarray  # int32 [N]


@dataclass(frozen=True)
class Dataset:
    class_names: tuple[str, ...]
    splits: dict[str, Split]  # "train", and "validation" and "test" where there are; never the same

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return self.splits["train"].images.shape[1:]

    def facts(self) -> dict[str, Any]:
        """What identifies the data, as JSON values: classes, shape, sizes, and a checksum."""
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


def to_rows(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C] as they lie in a device's memory: [N, row], H * W * C bytes and zeros.

    A row is a multiple of `ROW`: of others, and of four axes, a TPU makes a copy in another layout
    in every program.
    """
    rows = images.reshape(len(images), -1)
    rest = -rows.shape[1] % ROW
    return np.pad(rows, ((0, 0), (0, rest))) if rest else rows


def check_memory(name: str, count: int, shape: tuple[int, ...]) -> None:
    """Raises `UserError` where `count` images like the first, of this shape, are too many."""
    if (needed := count * math.prod(shape)) > MEMORY_LIMIT:
        raise errors.UserError(
            f"{name} is {needed / 1e9:,.1f} GB when decoded ({count:,} images like the first, "
            f"{shape[1]}x{shape[0]}), too much to hold in memory: stream it with "
            "--config.data.storage=stream"
        )


def stratified(labels: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint index arrays, the second of `size` examples, stratified by class.

    They are those of scikit-learn's `train_test_split`, whose import takes two seconds.

    Raises:
      UserError: one would be left without a class.
    """
    total, counts = len(labels), np.unique_counts(labels).counts
    classes = len(counts)
    if counts.min() < 2:
        raise errors.UserError(
            f"cannot hold {size:,} training images out for validation: a class has one image only; "
            "set data.validation_size to 0"
        )
    if not classes <= size <= total - classes:
        raise errors.UserError(
            f"cannot hold {size:,} of {total:,} training images out for validation: "
            f"set data.validation_size between {classes:,} and {total - classes:,}, or to 0"
        )
    rng = np.random.RandomState(seed)
    kept = of_each_class(counts, total - size, rng)
    held = of_each_class(counts - kept, size, rng)
    indices = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    shuffled = [rng.permutation(index) for index in indices]
    rest = [index[:n] for index, n in zip(shuffled, kept, strict=True)]
    out = [index[n : n + m] for index, n, m in zip(shuffled, kept, held, strict=True)]
    return np.sort(np.concatenate(rest)), np.sort(np.concatenate(out))


def of_each_class(counts: np.ndarray, size: int, rng: np.random.RandomState) -> np.ndarray:
    """How many of `size` examples each class gives: its share, by largest remainders."""
    exact = counts / counts.sum() * size
    remainder = exact - np.floor(exact)
    given = np.floor(exact)
    for value in np.unique(remainder)[::-1]:
        if missing := int(size - given.sum()):
            (tied,) = np.nonzero(remainder == value)
            given[rng.choice(tied, min(len(tied), missing), replace=False)] += 1
    return given.astype(int)


def has_validation(name: str, size: int, there: int) -> errors.UserError:
    """The error where `size` images are to be held out, and `there` are already."""
    return errors.UserError(
        f"data.validation_size is {size}, but {name} has a validation split of its "
        f"own ({there:,} images): set it to 0"
    )


def hold_out(name: str, dataset: Dataset, size: int, seed: int) -> Dataset:
    """Moves `size` images of "train" to "validation"; raises `UserError` where there are some."""
    if "validation" in dataset.splits:
        raise has_validation(name, size, len(dataset.splits["validation"].labels))
    images, labels = dataset.splits["train"]
    rest, held = stratified(labels, size, seed)
    splits = dataset.splits | {
        "train": Split(images[rest], labels[rest]),
        "validation": Split(images[held], labels[held]),
    }
    return replace(dataset, splits=splits)


@functools.lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """A permutation of `size` examples, int32 [size]."""
    return np.random.default_rng([seed, epoch]).permutation(size).astype(np.int32)


def batch_indices(seed: int, first_step: int, steps: int, batch_size: int, size: int) -> np.ndarray:
    """The examples of `steps` batches from `first_step` on, int32 [steps, batch_size].

    Every epoch is a new permutation; its last, incomplete batch is dropped.
    """
    steps_per_epoch = size // batch_size
    rows = []
    for step in range(first_step, first_step + steps):
        epoch, position = divmod(step, steps_per_epoch)
        order = epoch_order(seed, epoch, size)
        rows.append(order[position * batch_size : (position + 1) * batch_size])
    return np.stack(rows)


def evaluation_batches(size: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every example once: indices int32 [batches, batch_size], and weights, 0 for padding."""
    batches = -(-size // batch_size)
    indices = np.arange(batches * batch_size, dtype=np.int32)
    weights = (indices < size).astype(np.float32)
    shape = (batches, batch_size)
    return np.minimum(indices, size - 1).reshape(shape), weights.reshape(shape)
