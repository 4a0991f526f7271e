"""Data sets: `load` gives the splits as uint8 images in memory, `open` these or a stream.

To add one: a function `load(path, image_size) -> Dataset` in a file of its own, and a line in
`SOURCES`. A reader is imported where it is used.
"""

import importlib
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_jax import errors
from cnn_jax.data.dataset import Dataset, Split, hold_out, named

if TYPE_CHECKING:
    from cnn_jax.data.stream.sources import Source
    from cnn_jax.data.stream.streamed import StreamedDataset

__all__ = ["SOURCES", "Dataset", "Split", "image_shape", "load", "names", "open", "size"]

# The module here, and its function `(path, image_size) -> Dataset`; another project may add such a
# function itself: `SOURCES["its_data"] = its_function`.
SOURCES: dict[str, tuple[str, str] | Callable[[Path | None, int | None], Dataset]] = {
    "cifar10": ("cifar", "load_cifar10"),
    "cifar100": ("cifar", "load_cifar100"),
    "digits": ("digits", "load"),
    "fashion_mnist": ("idx", "load_fashion_mnist"),
    "folder": ("folder", "load"),
    "mnist": ("idx", "load_mnist"),
}
STORAGES = ("device", "stream")
# The number of images in each split, as published.
COUNTS = {
    "cifar10": {"train": 50_000, "test": 10_000},
    "cifar100": {"train": 50_000, "test": 10_000},
    "fashion_mnist": {"train": 60_000, "test": 10_000},
    "imagenet2012": {"train": 1_281_167, "validation": 50_000},
    "mnist": {"train": 60_000, "test": 10_000},
    "svhn_cropped": {"train": 73_257, "test": 26_032, "extra": 531_131},
}


def names() -> list[str]:
    """The data sets that `open` knows; "tfds:NAME" is any that has been prepared."""
    return [*sorted(SOURCES), "tfds:NAME", "fake:EXAMPLES,CLASSES"]


def open(
    name: str,
    *,
    path: str | None,
    image_size: int | None,
    validation_size: int,
    split_seed: int,
    storage: str,
    class_list: str | None,
    exclude: str | None,
    on_error: str,
    decoder: str,
    threads: int,
    workers: int,
    prefetch: int,
) -> "Dataset | StreamedDataset":
    """The data set that the group `data` of a config describes.

    Args:
      name, path, image_size, validation_size, split_seed: see `load`; a stream is of a "folder", of
        "tfds:NAME", or "fake:EXAMPLES,CLASSES", of noise.
      storage: "device", all images decoded once and in the memory of the device; or "stream", files
        that stay where they are and are read ahead of every step.
      class_list, exclude, on_error, decoder, threads, workers, prefetch: of streams, see
        `streamed.load`.
    """
    if storage not in STORAGES:
        raise errors.unknown("data.storage", storage, STORAGES)
    which = {"image_size": image_size, "validation_size": validation_size, "split_seed": split_seed}
    if storage == "device":
        check_in_memory(on_error, class_list=class_list, exclude=exclude)
        return load(name, path=path, **which)
    check_fields(name, path, image_size, split_seed)
    from cnn_jax.data.stream import streamed

    reading = {"threads": threads, "workers": workers, "prefetch": prefetch}
    files, *lists = (expanded(file) for file in (path, class_list, exclude))
    damaged = {"on_error": on_error, "decoder": decoder}
    with named(name, files):
        return streamed.load(name, files, *lists, **which, **damaged, **reading)


def check_in_memory(on_error: str, **lists: str | None) -> None:
    """Raises `UserError` for what only streams can do."""
    if on_error != "raise":
        raise errors.UserError(
            f"data.on_error {on_error!r} is for streams: set data.storage to 'stream', or "
            "data.on_error to 'raise'"
        )
    for field, file in lists.items():
        if file is not None:
            raise errors.UserError(
                f"data.{field} is for streams: set data.storage to 'stream', or it to None"
            )


def image_shape(dataset: "Dataset | StreamedDataset", view: Mapping[str, Any]) -> tuple[int, ...]:
    """Height, width and channels of the images that the network is trained on.

    `view`: the fields of `view.train`, by which a stream is seen.
    """
    if isinstance(dataset, Dataset):
        return dataset.image_shape
    return dataset.images("train", "view.train", view).shape


def size(split: "Split | Source") -> int:
    """The number of examples of a split, in memory or of a stream."""
    return len(split.labels) if isinstance(split, Split) else len(split)


def load(
    name: str, *, path: str | None, image_size: int | None, validation_size: int, split_seed: int
) -> Dataset:
    """Reads a data set: its splits "train", "test" and, where there is one, "validation".

    Args:
      name: one of `names()`; after "tfds:" as `tfds_source` says, as "tfds:svhn_cropped+extra".
      path: where its files are; None for `digits`, which comes with scikit-learn, and for TFDS's
        data sets in the default folder.
      image_size: side in pixels that every image of a folder, of IDX files or of TFDS is brought to
        (shorter side resized, center cropped), or of fake ones; None: as they are, of one size.
      validation_size: images held out of "train", stratified by class (the papers
        hold out 5,000 of CIFAR's 50,000); 0 takes the splits as they are.
      split_seed: which ones.

    Raises:
      UserError: unknown name, missing or damaged files, or a split that cannot be made.
    """
    check_fields(name, path, image_size, split_seed)
    where = expanded(path)
    with named(name, where):
        dataset = read(name, where, image_size)
    for split, published in COUNTS.get(name, {}).items():
        if split in dataset.splits and (count := size(dataset.splits[split])) != published:
            what = f"{split} has {count:,} images; as published it has {published:,}"
            warnings.warn(f"{name} at {where}: {what}", stacklevel=2)
    return hold_out(name, dataset, validation_size, split_seed) if validation_size else dataset


def expanded(path: str | None) -> Path | None:
    """A path as the user names it, of which "~" is the home folder."""
    return Path(os.path.expanduser(path)) if path else None


def read(name: str, where: Path | None, image_size: int | None) -> Dataset:
    """The data set as it is stored, see `load`."""
    if name.startswith("tfds:"):
        from cnn_jax.data import tfds_source

        return tfds_source.load(name.removeprefix("tfds:"), where, image_size)
    if name.startswith("fake:"):
        from cnn_jax.data import fake

        return fake.load(name, image_size)
    reader = SOURCES[name]
    if isinstance(reader, tuple):
        module, function = reader
        reader = getattr(importlib.import_module(f"cnn_jax.data.{module}"), function)
    return reader(where, image_size)


def check_fields(name: str, path: str | None, image_size: int | None, split_seed: int) -> None:
    """Raises `UserError` for an unknown data set, or fields that do not go with it."""
    kind = name.partition(":")[0]
    if name not in SOURCES and kind not in ("tfds", "fake"):
        raise errors.unknown("data set", name, names())
    if kind in ("digits", "fake") and path is not None:
        raise errors.UserError(f"{kind} take no data.path: they are not read from files")
    resized = {"folder", "tfds", "fake", "mnist", "fashion_mnist"}
    if image_size is not None and (kind not in resized or image_size < 1):
        raise errors.UserError(
            f"data.image_size {image_size} with {name}: it is a number of pixels, for folders, "
            "(Fashion-)MNIST, TFDS and fake images only"
        )
    if split_seed < 0:
        raise errors.UserError(f"data.split_seed {split_seed} is negative")
