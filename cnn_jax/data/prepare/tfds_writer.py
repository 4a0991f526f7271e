"""Writes a published data set as a TFDS data set of ArrayRecord shards, without TensorFlow.

TFDS's own `GeneratorBasedBuilder` cannot: it needs TensorFlow for splits of more than 1 GB, keeps
no finished shard of an interrupted preparation, and shuffles. So the shards are written here, with
TFDS's features, serializer and metadata, and TFDS reads them everywhere:
`tfds.data_source("cifar10:1.0.0", data_dir=...)`. Records are in the order of the archive.

Meanwhile all files are in `VERSION.incomplete`, and `preparation.json` there lists the finished
shards: when started again, it continues with the next one. In the end every shard is read back and
compared with its checksum; only then does the folder get its name.
"""

import contextlib
import fcntl
import io
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cnn_jax import errors, files
from cnn_jax.data import folder
from cnn_jax.data.prepare import preparation, shards
from cnn_jax.data.prepare.archives import Published
from cnn_jax.errors import UserError

VERSION = "1.0.0"
SHARD_BYTES = 64 * 2**20
MOST_SHARDS = 512  # of a split: a reader opens all of them, and 1,024 files are a usual limit
ON_ERROR = ("raise", "skip")

Report = Callable[[str, int, int], None]  # takes the task, and how many of how many are done


def prepare(
    name: str,
    published: Published,
    data_dir: Path,
    *,
    on_error: str,
    report: Report,
    shard_bytes: int = SHARD_BYTES,
) -> tuple[Path, dict]:
    """Writes a data set, or continues with it; does nothing where it is complete.

    Args:
      name: of the data set.
      published: what `archives.find` found.
      data_dir: the folder of all prepared data sets.
      on_error: what an image that cannot be decoded does: "raise", or "skip", it is left out.
      report: called with the progress.
      shard_bytes: the size of a shard, roughly.

    Returns:
      The folder, and the content of `preparation.json` in it: `shards`, by file name, each with
      `examples`, `bytes`, `sha256`, `shape` and `skipped`.

    Raises:
      UserError: an image is damaged, another process prepares the data set, there is one made from
        other files, or a shard reads back other than it was written.
    """
    if on_error not in ON_ERROR:
        raise errors.unknown("on_error", on_error, ON_ERROR)
    final = data_dir / name / VERSION
    check_names(published.class_names)
    made_from = [published.fingerprint(), on_error, shard_bytes]
    with alone(final.parent):
        if final.exists():
            return final, preparation.of_complete(final, made_from)
        incomplete = final.with_name(f"{VERSION}.incomplete")
        notes = preparation.begin(incomplete, made_from)
        for split in published.splits:
            writer = ShardWriter(published, split, on_error, report)
            planned = plan_shards(name, published, split, shard_bytes)
            writer.write_missing(planned, incomplete, notes)
        verify(incomplete, notes, report)
        write_metadata(name, published, incomplete, notes)
        os.replace(incomplete, final)
    return final, notes


def check_names(class_names: tuple[str, ...]) -> None:
    """Raises `UserError` for a class that TFDS cannot list: in UTF-8, each in a line of its own."""
    for name in class_names:
        as_stored = name.strip().encode(errors="replace").decode()
        if as_stored.splitlines() != [name]:
            raise UserError(
                f"the class {name!r} cannot be named in a TFDS data set, for it has a line break, "
                "spaces at an end, or is not UTF-8: rename its folder"
            )


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Makes a folder and locks it; raises `UserError` where another process has it locked."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is preparing {folder}") from None
        yield


def plan_shards(
    name: str, published: Published, split: str, shard_bytes: int
) -> Iterator[tuple[str, range]]:
    """The file name of each shard of a split, as TFDS calls it, and the examples it takes."""
    examples = published.splits[split]
    count = min(max(math.ceil(examples.nbytes / shard_bytes), 1), len(examples), MOST_SHARDS)
    bounds = [round(len(examples) * i / count) for i in range(count + 1)]
    for i in range(count):
        shard = f"{name}-{split}.array_record-{i:05d}-of-{count:05d}"
        yield shard, range(bounds[i], bounds[i + 1])


class ShardWriter:
    """Writes shards of one split: each image is decoded, as a check, and stored as it was."""

    def __init__(self, published: Published, split: str, on_error: str, report: Report):
        from tensorflow_datasets.core import example_serializer

        self._examples, self._split = published.splits[split], split
        self._on_error, self._report = on_error, report
        self._features = features(published.class_names, None)
        self._serializer = example_serializer.ExampleSerializer(
            self._features.get_serialized_info()
        )

    def write_missing(self, planned: Iterator[tuple[str, range]], place: Path, notes: dict) -> None:
        """Writes the planned shards that the notes do not have, and notes each."""
        for shard, indices in planned:
            if shard not in notes["shards"]:
                notes["shards"][shard] = self.write(place / shard, indices)
                preparation.write(place, notes)
            self._report(f"write {self._split}", indices.stop, len(self._examples))

    def write(self, file: Path, indices: range) -> dict:
        """Writes the examples `indices` as one shard; returns its facts for `preparation.json`."""
        shapes, skipped = set(), []

        def good() -> Iterator[bytes]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for start in range(indices.start, indices.stop, shards.CHUNK):
                    chunk = range(start, min(start + shards.CHUNK, indices.stop))
                    made = shards.in_threads(pool, self._record, chunk)
                    for index, (record, found) in zip(chunk, made, strict=True):
                        if record is None:
                            skipped.append([index, found])
                        else:
                            shapes.add(found)
                            yield record
                    self._report(f"write {self._split}", chunk.stop, len(self._examples))

        facts = shards.write(file, good())
        return {**facts, "shape": common_shape(shapes), "skipped": skipped}

    def _record(self, index: int) -> tuple[bytes, tuple] | tuple[None, str]:
        """A record and the shape of its image; for a damaged one None and the reason."""
        identity = self._examples.identity(index)
        try:
            encoded = self._examples.encoded(index)
            shape = folder.decode_bytes(encoded, identity, None).shape
        except (UserError, OSError) as error:
            if self._on_error == "raise":
                raise UserError(f"{error}, or leave such out with --on_error=skip") from None
            return None, str(error)
        label = int(self._examples.labels[index])
        example = {"image": io.BytesIO(encoded), "label": label, "id": identity}
        found = self._serializer.get_tf_example(self._features.encode_example(example))
        # Otherwise the order of a record's fields is another one in each process.
        return found.SerializeToString(deterministic=True), shape


def features(class_names: tuple[str, ...], shape: tuple | None):
    """TFDS's description of a record: an image file, the label, and a name for people.

    `shape`: of all images, where that is known.
    """
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape),
            "label": tfds.features.ClassLabel(names=class_names),
            "id": tfds.features.Text(),
        }
    )


def common_shape(shapes: set[tuple]) -> list:
    """Height and width, None where images differ in them, and the largest number of channels."""
    height, width, channels = ({shape[axis] for shape in shapes} for axis in range(3))
    sides = [side.pop() if len(side) == 1 else None for side in (height, width)]
    return [*sides, max(channels, default=1)]


def verify(place: Path, notes: dict, report: Report) -> None:
    """Reads every shard back; one that differs from what was written is to be written anew."""
    for i, (name, facts) in enumerate(list(notes["shards"].items())):
        try:
            shards.verify(place / name, facts)
        except UserError as error:
            del notes["shards"][name]
            preparation.write(place, notes)
            raise UserError(f"{error}; start the same command again to write it anew") from None
        report("verify shards", i + 1, len(notes["shards"]))


def write_metadata(name: str, published: Published, place: Path, notes: dict) -> None:
    """Writes TFDS's `dataset_info.json` and `features.json`, and `labels.npz` for a fast start."""
    import tensorflow_datasets as tfds

    infos, labels = [], {}
    for split, examples in published.splits.items():
        # Sorted, because a shard that was written anew is the last of the notes.
        named = sorted(notes["shards"].items())
        shards = [facts for file, facts in named if split_of(file) == split]
        skipped = [index for facts in shards for index, _ in facts["skipped"]]
        labels[split] = np.delete(examples.labels, skipped)
        template = tfds.core.ShardedFileTemplate(
            data_dir=place, dataset_name=name, split=split, filetype_suffix="array_record"
        )
        lengths = [facts["examples"] for facts in shards]
        nbytes = sum(facts["bytes"] for facts in shards)
        infos.append(
            tfds.core.SplitInfo(
                name=split, shard_lengths=lengths, num_bytes=nbytes, filename_template=template
            )
        )
    files.write_arrays(place / "labels.npz", labels)
    shape = common_shape({tuple(facts["shape"]) for facts in notes["shards"].values()})
    tfds.folder_dataset.write_metadata(
        data_dir=place,
        features=features(published.class_names, tuple(shape)),
        split_infos=infos,
        version=VERSION,
        check_data=False,  # it would need TensorFlow; every record was read back instead
        disable_shuffling=True,
        supervised_keys=("image", "label"),
    )


def split_of(shard: str) -> str:
    """The split in the file name of a shard."""
    return shard.partition(".")[0].rpartition("-")[2]
