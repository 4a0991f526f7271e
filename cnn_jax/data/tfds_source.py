"""Data sets that TFDS prepared as ArrayRecord, here or elsewhere, read without TensorFlow.

A data set is named as in TFDS: `cifar10`, `imagenette/320px`, `cifar10:3.0.2`. After a plus sign
comes one more split to train on: `svhn_cropped+extra`, as for Wide ResNets (1605.07146, section 3).
TensorFlow Datasets is imported where it is used: that takes a second, and most runs do without.
"""

import hashlib
import os
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cnn_jax import errors
from cnn_jax.data import folder
from cnn_jax.data.dataset import Dataset, Split, check_labels, check_memory
from cnn_jax.data.tfds_builder import check_counts, open_builder, reading, shards
from cnn_jax.errors import UserError, first_line
from cnn_jax.files import cache_folder

NAME = re.compile(r"(?P<path>\w+(/[\w.-]+)?)(:(?P<version>\d+\.\d+\.\d+))?(\+(?P<extra>\w+))?")
SPLITS = ("train", "validation", "test")
BATCH = 256


def default_folder() -> Path:
    """The folder of prepared data sets where none is named."""
    return cache_folder("tfds")


def prepared(data_dir: Path) -> dict[str, list[str]]:
    """The names of the data sets in a folder, and the versions of each, oldest first."""
    found = {}
    for pattern in ("*/*/dataset_info.json", "*/*/*/dataset_info.json"):
        for file in data_dir.glob(pattern):
            if re.fullmatch(r"\d+\.\d+\.\d+", file.parent.name):
                name = file.parent.parent.relative_to(data_dir).as_posix()
                found.setdefault(name, []).append(file.parent.name)
    return {name: sorted(versions, key=numbers) for name, versions in sorted(found.items())}


def numbers(version: str) -> list[int]:
    """The parts of a version as numbers, by which versions are sorted."""
    return [int(part) for part in version.split(".")]


def locate(name: str, data_dir: Path) -> Path:
    """The folder of the version that a name has, or else of the newest one.

    Raises:
      UserError: the data set has not been prepared in `data_dir`.
    """
    parts = NAME.fullmatch(name)
    if not parts:
        raise UserError(
            f"{name!r} names no TFDS data set; write NAME[/CONFIG][:VERSION][+SPLIT]", 2
        )
    found, path = prepared(data_dir), parts["path"]
    if path not in found:
        how = "`python launch.py data prepare NAME --from=DIR` makes one"
        if any((data_dir / path).glob("*.incomplete")):
            raise UserError(f"{name}: its preparation in {data_dir} was interrupted; do it again")
        if not found:
            raise UserError(f"{name}: there are no prepared data sets in {data_dir}; {how}")
        raise UserError(f"{errors.unknown('prepared data set', path, found)}; {how}", 2)
    version = parts["version"] or found[path][-1]
    if version not in found[path]:
        raise errors.unknown(f"version of {path}", version, found[path])
    return data_dir / path / version


class Source:
    """The images of a split, in the stored order; a `stream.sources.Source`."""

    def __init__(self, name: str, split: str, data_dir: Path | None = None):
        """Opens a split; reads the labels, and no image.

        Args:
          split: one, or several such as "train+extra".
          data_dir: of all prepared data sets; None takes the default folder.

        Raises:
          UserError: no such data set or split, a shard is missing, or files are damaged.
        """
        self._place = locate(name, data_dir or default_folder())
        builder = open_builder(self._place)
        with reading(self._place):
            self._open(name, split, builder)

    def _open(self, name: str, split: str, builder) -> None:
        import tensorflow_datasets as tfds

        for part in split.split("+"):
            if part not in builder.info.splits:
                raise errors.unknown(f"split of {self._place}", part, builder.info.splits)
            if missing := [file for file, _ in shards(builder, part) if not file.is_file()]:
                raise UserError(
                    f"{name}: {len(missing)} of {len(shards(builder, part))} shards of {part} are "
                    f"missing, first {missing[0]}; copy them there, or prepare the data set again"
                )
        self.class_names = tuple(builder.info.features["label"].names)
        self.channels = 1 if builder.info.features["image"].shape[-1] == 1 else 3
        self._shards = {part: builder.info.splits[part].shard_lengths for part in split.split("+")}
        self._split, self._skip = split, {"image": tfds.decode.SkipDecoding()}
        self._records = builder.as_data_source(split, decoders=self._skip)
        self.labels = self._read_labels(builder)

    def __len__(self) -> int:
        return len(self._records)

    def encoded(self, index: int) -> bytes:
        """The image file of an example; `UserError` where its shard is damaged."""
        return self.read([index])[0]["image"]

    def where(self, index: int) -> str:
        """The name of an example in messages."""
        return f"{self._split}[{index}] of {self._place}"

    def read(self, indices) -> list[dict]:
        """The records of some examples, with images as stored."""
        try:
            return self._records.__getitems__(list(indices))
        except Exception as error:  # ArrayRecord and protobuf raise about anything
            raise UserError(
                f"cannot read {self.where(indices[0])} ({first_line(error)}); "
                "`python launch.py data check NAME` shows which shards are damaged"
            ) from None

    def checksum(self) -> int:
        """A checksum of the version, the number of records in each shard, and the labels."""
        facts = f"{self._place.name} {self._shards}".encode()
        return zlib.crc32(facts, zlib.crc32(np.ascontiguousarray(self.labels)))

    def fingerprint(self) -> str:
        """A digest of the names, sizes and modification times of the shards."""
        digest = hashlib.sha256(f"{self._place} {self._split}".encode())
        for file in sorted(self._place.glob("*.array_record-*")):
            stat = file.stat()
            digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return f"{self._place.parent.name}-{digest.hexdigest()[:32]}"

    def _read_labels(self, builder) -> np.ndarray:
        """From `labels.npz`; without one, as where TFDS prepared the data set, from all records."""
        if (beside := folder.read_cache(self._place / "labels.npz")) is not None:
            return np.concatenate([beside[part] for part in self._split.split("+")])
        cache = cache_folder("labels") / f"{self.fingerprint()}.npz"
        kept = folder.read_cache(cache)
        if kept is None:
            for part in self._split.split("+"):
                check_counts(builder, part)
            batches = (range(i, min(i + BATCH, len(self))) for i in range(0, len(self), BATCH))
            labels = [record["label"] for batch in batches for record in self.read(batch)]
            kept = {"labels": np.array(labels, np.int32)}
            folder.write_cache(cache, kept)
        return kept["labels"]


def sources(name: str, data_dir: Path | None) -> dict[str, Source]:
    """The source of each split: "train", and "validation" and "test" if there are any.

    Without a "test", or with one that has no labels, as in ImageNet, "validation" is called "test":
    it is the split on which the papers report.
    """
    builder = open_builder(locate(name, data_dir or default_folder()))
    splits = {split: split for split in SPLITS if split in builder.info.splits}
    if "train" not in splits:
        raise UserError(f"{name} has no split 'train', only {', '.join(builder.info.splits)}")
    if extra := NAME.fullmatch(name)["extra"]:
        splits["train"] = f"train+{extra}"
        splits.pop(extra, None)  # no image is in two splits
    found = {split: Source(name, parts, data_dir) for split, parts in splits.items()}
    if "test" in found and (found["test"].labels < 0).all():
        del found["test"]
    if "validation" in found and "test" not in found:
        found["test"] = found.pop("validation")
    labels = {split: source.labels for split, source in found.items()}
    counts = {split: len(source) for split, source in found.items()}
    check_labels(found["train"].class_names, labels, counts)
    return found


def load(name: str, path: Path | None, image_size: int | None) -> Dataset:
    """Reads a data set that fits into memory: uint8 [N, H, W, C], examples in the stored order.

    The first read decodes every image and keeps the arrays in the user's cache folder.

    Args:
      name: as in TFDS, see above.
      path: the folder of all prepared data sets, TFDS's `data_dir`; None takes the default folder.
      image_size: see `data.load`.

    Raises:
      UserError: not prepared, damaged, images of several sizes, or too many for the memory.
    """
    opened = sources(name, path)
    digest = hashlib.sha256(f"{[source.fingerprint() for source in opened.values()]}".encode())
    file = f"{digest.hexdigest()[:32]}-{image_size}.npz"
    cache = cache_folder("decoded") / file
    images = folder.read_cache(cache)
    if images is None:
        images = decode_all(name, opened, image_size)
        folder.write_cache(cache, images)
    class_names = next(iter(opened.values())).class_names
    return Dataset(class_names, {s: Split(images[s], opened[s].labels) for s in opened})


def decode_all(name: str, opened: dict[str, Source], image_size: int | None) -> dict:
    """Decodes every image of each split, in threads: uint8 [N, H, W, C]."""
    first = next(iter(opened.values()))
    mode = "L" if first.channels == 1 else "RGB"
    size = None if image_size is None else (image_size, image_size)
    shape = folder.decode_bytes(first.encoded(0), first.where(0), size, mode).shape
    total = sum(len(source) for source in opened.values())
    check_memory(f"tfds:{name}", total, shape)
    images = {split: np.empty((len(source), *shape), np.uint8) for split, source in opened.items()}

    def fill(split: str, batch: range) -> None:
        for index, record in zip(batch, opened[split].read(batch), strict=True):
            identity = opened[split].where(index)
            image = folder.decode_bytes(record["image"], identity, size, mode)
            if image.shape != shape:
                raise UserError(
                    f"{name}: {identity} is {image.shape[1]}x{image.shape[0]} pixels and the first "
                    f"image {shape[1]}x{shape[0]}: bring all to one size with "
                    "--config.data.image_size=PIXELS"
                )
            images[split][index] = image

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(fill, split, range(start, min(start + BATCH, len(source))))
            for split, source in opened.items()
            for start in range(0, len(source), BATCH)
        ]
        for job in jobs:
            job.result()
    return images
