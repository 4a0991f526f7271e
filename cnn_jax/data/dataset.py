"""What a data set is: named splits of images and labels, and the order in which they come."""

import contextlib
import functools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn_jax import errors

ROW = 128  # bytes
MEMORY_LIMIT = 4 * 2**30  # bytes of decoded images; SVHN with extra has 1.9e9


class Split(NamedTuple):
    images: np.ndarray  # uint8 [N, H, W, C]
    labels: np.ndarray  # int32 [N]


class Unfit(errors.UserError):
    """Images, labels and classes that are no data set; the message lacks the name of the data."""


@contextlib.contextmanager
def named(name: str, path: Path | None) -> Iterator[None]:
    """Puts the name of a data set, and where it is, before what is `Unfit` about it."""
    try:
        yield
    except Unfit as error:
        where = f" at {path}" if path else ""
        raise errors.UserError(f"{name}{where}: {error}") from None


@dataclass(frozen=True)
class Dataset:
    """Images in memory; raises `Unfit` for any that are not what is said here."""

    class_names: tuple[str, ...]
    splits: dict[str, Split]  # "train", and "validation" and "test" where there are; never the same

    def __post_init__(self):
        labels = {name: split[1] for name, split in self.splits.items()}
        counts = {name: len(split[0]) for name, split in self.splits.items()}
        labels = check_labels(self.class_names, labels, counts)
        images = {name: split[0] for name, split in self.splits.items()}
        check_images(images)
        splits = {name: Split(images[name], labels[name]) for name in images}
        object.__setattr__(self, "splits", splits)

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


def check_labels(
    class_names: Sequence[str], labels: Mapping[str, np.ndarray], counts: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Checks what every data set must be, in memory, streamed or prepared.

    Args:
      labels: of each split, of any kind of integer.
      counts: the images of each split.

    Returns:
      The labels as int32 [N].

    Raises:
      Unfit: no class, or two of one name; no split "train", or no image in a split; not a label for
        each image, or one that is no class.
    """
    if not class_names or not all(isinstance(name, str) and name for name in class_names):
        raise Unfit(f"the class names are {list(class_names)[:5]}: each class has a name")
    if len(set(class_names)) < len(class_names):
        twice = next(name for i, name in enumerate(class_names) if name in class_names[:i])
        raise Unfit(f"two classes are called {twice!r}")
    if "train" not in labels:
        raise Unfit(f"it has no split 'train', only {', '.join(labels) or 'none at all'}")
    for split, own in labels.items():
        if not counts[split]:
            raise Unfit(f"{split} has no images")
        if own.shape != (counts[split],):
            held = f"{len(own):,} labels" if own.ndim == 1 else f"labels of the shape {own.shape}"
            raise Unfit(f"{split} has {counts[split]:,} images and {held}")
        if own.dtype.kind not in "iu":
            raise Unfit(f"the labels of {split} are {own.dtype}, and not integers")
        least, most = own.min(), own.max()
        if least < 0 or most >= len(class_names):
            wrong = least if least < 0 else most
            raise Unfit(f"{split} has label {wrong}, but there are {len(class_names):,} classes")
    return {split: own.astype(np.int32, copy=False) for split, own in labels.items()}


def check_images(images: Mapping[str, np.ndarray]) -> None:
    """Raises `Unfit` where images in memory are not uint8 [N, H, W, C], of one shape in all."""
    expected = images["train"].shape[1:]
    for split, own in images.items():
        if own.dtype != np.uint8 or own.ndim != 4 or not all(own.shape):
            raise Unfit(
                f"the images of {split} are {own.dtype} {own.shape}, not uint8 [N, H, W, C]"
            )
        if own.shape[1:] != expected:
            raise Unfit(f"the images of {split} are {own.shape[1:]}, and those of train {expected}")


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
