"""Data sets: `load(name, path=..., ...)` gives the splits, as uint8 images in memory.

To add one: a function `load(path, image_size) -> Dataset` in a file of its own, and a line in
`SOURCES`.
"""

from pathlib import Path

from cnn_jax import errors
from cnn_jax.data import cifar, digits, folder, idx, tfds_source
from cnn_jax.data.dataset import Dataset, Split, hold_out

__all__ = ["SOURCES", "Dataset", "Split", "load", "names"]

SOURCES = {
    "cifar10": cifar.load_cifar10,
    "cifar100": cifar.load_cifar100,
    "digits": digits.load,
    "fashion_mnist": idx.load_fashion_mnist,
    "folder": folder.load,
    "mnist": idx.load_mnist,
}


def names() -> list[str]:
    """The data sets that `load` knows; "tfds:NAME" is any that has been prepared."""
    return [*sorted(SOURCES), "tfds:NAME"]


def load(
    name: str, *, path: str | None, image_size: int | None, validation_size: int, split_seed: int
) -> Dataset:
    """Reads a data set: its splits "train", "test" and, where there is one, "validation".

    Args:
      name: one of `names()`; after "tfds:" as `tfds_source` says, as "tfds:svhn_cropped+extra".
      path: where its files are; None for `digits`, which comes with scikit-learn, and for TFDS's
        data sets in the default folder.
      image_size: side in pixels that every image of a folder or of TFDS is brought to (shorter side
        resized, centre cropped); None takes them as they are, all of one size.
      validation_size: images held out of "train", as many of each class as its share (the papers
        hold out 5,000 of CIFAR's 50,000); 0 takes the splits as they are.
      split_seed: which ones.

    Raises:
      UserError: unknown name, missing or damaged files, or a split that cannot be made.
    """
    is_tfds, where = name.startswith("tfds:"), Path(path).expanduser() if path else None
    if name not in SOURCES and not is_tfds:
        raise errors.unknown("data set", name, names())
    if name == "digits" and path is not None:
        raise errors.UserError("digits come with scikit-learn: they take no data.path")
    if image_size is not None and (not (is_tfds or name == "folder") or image_size < 1):
        raise errors.UserError(
            f"data.image_size {image_size} with {name}: it is a number of pixels, for folders and "
            "TFDS only"
        )
    if split_seed < 0:
        raise errors.UserError(f"data.split_seed {split_seed} is negative")
    if is_tfds:
        dataset = tfds_source.load(name.removeprefix("tfds:"), where, image_size)
    else:
        dataset = SOURCES[name](where, image_size)
    if not validation_size:
        return dataset
    if "validation" in dataset.splits:
        raise errors.UserError(
            f"data.validation_size is {validation_size}, but {name} has a validation split of its "
            f"own ({len(dataset.splits['validation'].labels):,} images): set it to 0"
        )
    return hold_out(dataset, validation_size, split_seed)
