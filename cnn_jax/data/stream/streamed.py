"""Data sets that do not fit in memory: images stay in their files until a step needs them."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax import errors
from cnn_jax.data import decode, fake, tfds_source
from cnn_jax.data.dataset import check_labels, has_validation, stratified
from cnn_jax.data.stream import sources, views
from cnn_jax.data.stream.reader import Images, Reading, refused, undecodable
from cnn_jax.data.stream.sources import FakeSource, Source


@dataclass(frozen=True)
class StreamedDataset:
    """The counterpart of `dataset.Dataset`, as `Unfit`; `images` chooses how images are seen."""

    class_names: tuple[str, ...]
    splits: dict[str, Source]  # "train", and "validation" and "test" if there are any
    image_size: int | None  # side to which the view "full" resizes images
    on_error: str
    decoder: str
    threads: int
    workers: int
    prefetch: int

    def __post_init__(self):
        labels = {split: source.labels for split, source in self.splits.items()}
        counts = {split: len(source) for split, source in self.splits.items()}
        check_labels(self.class_names, labels, counts)

    def images(self, split: str, field: str, fields: Mapping[str, Any]) -> Images:
        """A split, seen by a view.

        Args:
          field: the name of the view in messages, such as "view.train".
          fields: `kind`, and the options of that kind, see `views.create`; "full" has none.

        Raises:
          UserError: an option that cannot be; for "full", no image can be decoded.
        """
        source, size = self.splits[split], self.image_size
        if fields["kind"] == "full":
            if unknown := [name for name in fields if name != "kind"]:
                raise errors.UserError(f"{field} of the kind 'full' takes no {unknown[0]!r}", 2)
            mode = "L" if source.channels == 1 else "RGB"
            view = functools.partial(views.full, size=size and (size, size), mode=mode)
        elif size is not None:
            raise errors.UserError(
                f"data.image_size is for {field}.kind 'full'; {fields['kind']!r} has a size of "
                "its own: set data.image_size to None"
            )
        else:
            view, size = views.create(decoder=self.decoder, **fields), fields["size"]
        if isinstance(source, FakeSource):
            if size is None:
                raise errors.UserError("fake images need a size: --config.data.image_size=PIXELS")
            source, view = replace(source, size=size), functools.partial(views.raw, size=size)
        channels = source.channels if fields["kind"] == "full" else 3
        shape = (size, size, channels) if size else self.first_shape(view)
        return Images(source, view, shape, self.on_error)

    def first_shape(self, view: views.View) -> tuple[int, int, int]:
        """The shape of the first training image that can be decoded."""
        source, rng = self.splits["train"], np.random.default_rng(0)
        for i in range(len(source)):
            try:
                return view(source.encoded(i), rng).shape
            except (decode.BadImage, OSError, errors.UserError) as error:
                what = undecodable(source, i, error)
                if self.on_error == "raise":
                    raise refused(what) from None
        raise errors.UserError(f"none of {len(source):,} images can be decoded: {what}")

    def reading(self, process: int, processes: int) -> Reading:
        """How the process number `process` of `processes` reads."""
        return Reading(self.threads, self.workers, self.prefetch, process, processes)

    def facts(self, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        """JSON values that differ for other data: classes, sizes and checksums; reads no image."""
        return {
            "class_names": list(self.class_names),
            "image_shape": list(image_shape),
            "examples": {name: len(source) for name, source in self.splits.items()},
            "checksum": {name: source.checksum() for name, source in self.splits.items()},
        }


def load(
    name: str,
    path: Path | None,
    class_list: Path | None,
    exclude: Path | None,
    *,
    validation_size: int,
    split_seed: int,
    **others,
) -> StreamedDataset:
    """Finds the images of a data set, and reads none.

    Args:
      name: "folder", "tfds:NAME" or "fake:EXAMPLES,CLASSES".
      class_list, exclude: for a folder, see `sources.folder`.
      validation_size, split_seed: see `data.open`.
      others: the remaining fields of `StreamedDataset`.

    Raises:
      UserError: the data set is not read as a stream, or not there.
    """
    decode.check(others["decoder"])
    kind, _, rest = name.partition(":")
    for field, file in {"class_list": class_list, "exclude": exclude}.items():
        if file is not None and kind != "folder":
            raise errors.UserError(f"data.{field} is for folders, and data.name is {name}")
    if kind == "folder":
        splits = sources.folder(path, class_list, exclude)
    elif kind == "tfds":
        splits = tfds_source.sources(rest, path)
    elif kind == "fake":
        splits = noise(name)
    else:
        raise errors.UserError(
            f"data.storage is 'stream', and {name} is not streamed: set it to 'device', or take "
            "'folder', 'tfds:NAME' or 'fake:EXAMPLES,CLASSES'"
        )
    if validation_size:
        splits = hold_out(name, splits, validation_size, split_seed)
    return StreamedDataset(splits["train"].class_names, splits, **others)


def noise(name: str) -> dict[str, Source]:
    """Noise instead of images, of a size that the view sets."""
    sizes, classes = fake.sizes(name)
    return {split: sources.fake(size, classes, 1, True) for split, size in sizes.items()}


def hold_out(name: str, splits: dict[str, Source], size: int, seed: int) -> dict[str, Source]:
    """Moves `size` images of "train" to "validation"."""
    if "validation" in splits:
        raise has_validation(name, size, len(splits["validation"]))
    train = splits["train"]
    rest, held = stratified(train.labels, size, seed)
    if isinstance(train, FakeSource):
        parts = [replace(train, labels=train.labels[index]) for index in (rest, held)]
    else:
        parts = [sources.subset(train, index) for index in (rest, held)]
    return splits | dict(zip(("train", "validation"), parts, strict=True))
