"""Checks whether a prepared data set is whole: reads every shard and decodes every image."""

import functools
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cnn_jax.data import folder, tfds_builder, tfds_source
from cnn_jax.data.prepare import preparation, shards, tfds_writer
from cnn_jax.errors import UserError, first_line


@dataclass
class SplitFacts:
    """Counts and statistics of the images of one split."""

    classes: int
    channels: int
    labels: list[int] = field(default_factory=list)  # of the good images, in the stored order
    shards: int = 0  # whole ones
    nbytes: int = 0  # of the encoded images
    sizes: Counter = field(default_factory=Counter)  # (height, width) -> images
    pixels: int = 0
    totals: np.ndarray = 0  # float64 [channels]
    squares: np.ndarray = 0  # float64 [channels]

    @property
    def counts(self) -> np.ndarray:
        """The number of good images in each class, int64 [classes]."""
        return np.bincount(np.array(self.labels, np.int64), minlength=self.classes)

    @property
    def mean(self) -> np.ndarray:
        """The mean of all pixels of a channel, 0-255."""
        return self.totals / max(self.pixels, 1)

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of all pixels of a channel."""
        return np.sqrt(np.maximum(self.squares / max(self.pixels, 1) - self.mean**2, 0))

    def add(self, image: np.ndarray, label: int, nbytes: int) -> None:
        """Adds an image, uint8 [H, W, channels]."""
        self.labels.append(label)
        self.nbytes += nbytes
        self.sizes[image.shape[:2]] += 1
        self.pixels += image.shape[0] * image.shape[1]
        # There are 256 values: to count them is faster than to square every pixel, and exact.
        bins = [np.bincount(image[..., c].ravel(), minlength=256) for c in range(self.channels)]
        values = np.arange(256.0)
        self.totals = self.totals + np.stack(bins) @ values
        self.squares = self.squares + np.stack(bins) @ values**2


def check(
    name: str, data_dir: Path, report: tfds_writer.Report
) -> tuple[tuple[str, ...], dict[str, SplitFacts], list[str]]:
    """Reads all of a data set.

    Returns:
      The class names, the facts of each split, and a line for each problem.

    Raises:
      UserError: there is no such prepared data set, or it cannot be opened.
    """
    place = tfds_source.locate(name, data_dir)
    builder = tfds_builder.open_builder(place)
    with tfds_builder.reading(place):
        return check_splits(name, data_dir, place, builder, report)


def check_splits(
    name: str, data_dir: Path, place: Path, builder, report: tfds_writer.Report
) -> tuple[tuple[str, ...], dict[str, SplitFacts], list[str]]:
    """See `check`."""
    class_names = tuple(builder.info.features["label"].names)
    channels = 1 if builder.info.features["image"].shape[-1] == 1 else 3
    splits, problems, notes = {}, [], {}
    try:
        notes = preparation.read(place)["shards"]
    except UserError as error:
        problems.append(str(error))
    for split, info in builder.info.splits.items():
        facts = splits[split] = SplitFacts(len(class_names), channels)
        files = tfds_builder.shards(builder, split)
        for i, (file, examples) in enumerate(files):
            expected = notes.get(file.name)
            problems += check_shard(builder, file, examples, expected, facts)
            report(f"check {split}, shard", i + 1, len(files))
        if (found := len(facts.labels)) != info.num_examples:
            problems.append(f"{split} has {found:,} good images in place of {info.num_examples:,}")
        elif (place / "labels.npz").is_file():
            beside = tfds_source.Source(name, split, data_dir).labels
            if beside.tolist() != facts.labels:
                problems.append(f"{place / 'labels.npz'} has other labels than the shards")
    return class_names, splits, problems


def decode(features, file: Path, facts: SplitFacts, numbered: tuple[int, bytes]) -> tuple | str:
    """The image of a record of a shard, its label and its size; for a bad one a line."""
    import tensorflow_datasets as tfds

    number, record = numbered
    what, skip = f"record {number} of {file.name}", {"image": tfds.decode.SkipDecoding()}
    try:
        example = features.deserialize_example_np(record, decoders=skip)
        # Elsewhere than here and in CIFAR the name is absent, or a number.
        identity = example.get("id", b"")
        identity = identity.decode() if isinstance(identity, bytes) else identity
        what = f"{identity} ({what})".lstrip()
        label = int(example["label"])
    except Exception as error:  # protobuf and TFDS raise about anything at other records
        return f"cannot read {what} ({first_line(error)})"
    if not 0 <= label < facts.classes:
        return f"{what} has label {label}, but there are {facts.classes} classes"
    try:
        mode = "L" if facts.channels == 1 else "RGB"
        image = folder.decode_bytes(example["image"], what, None, mode)
    except UserError as error:
        return str(error)
    return image, label, len(example["image"])


def check_shard(
    builder, file: Path, examples: int, expected: dict | None, facts: SplitFacts
) -> list[str]:
    """Adds the good images of a shard to `facts`; returns a line for each other one."""
    look = functools.partial(decode, builder.info.features, file, facts)
    problems, digest = [], shards.Digest()
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for chunk in shards.read(file, examples):
                numbered = list(enumerate(chunk, digest.examples))
                for found in shards.in_threads(pool, look, numbered):
                    if isinstance(found, str):
                        problems.append(found)
                    else:
                        facts.add(*found)
                for record in chunk:
                    digest.add(record)
        facts.shards += 1
    except UserError as error:
        return [*problems, str(error)]
    if expected and digest.facts()["sha256"] != expected["sha256"]:
        problems.append(f"the shard {file} is not what was written (another checksum)")
    return problems
