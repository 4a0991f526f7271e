"""Shards, ArrayRecord files: written whole, read in order, verified by a digest."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cnn_jax.errors import UserError, first_line
from cnn_jax.files import replacing

CHUNK = 256  # records read at once
TASK = 16  # items that a thread takes at a time: small images one by one would cost more to pass on


class Digest:
    """The number, the bytes and the SHA-256 of records; the SHA-256 includes their lengths."""

    def __init__(self):
        self.examples = self.nbytes = 0
        self._sha256 = hashlib.sha256()

    def add(self, record: bytes) -> None:
        """Takes the next record."""
        self.examples += 1
        self.nbytes += len(record)
        self._sha256.update(len(record).to_bytes(8, "little"))
        self._sha256.update(record)

    def facts(self) -> dict:
        """`examples`, `bytes` and `sha256`, as JSON values."""
        return {
            "examples": self.examples,
            "bytes": self.nbytes,
            "sha256": self._sha256.hexdigest(),
        }


def in_threads(pool: ThreadPoolExecutor, function: Callable, items: Sequence) -> Iterator:
    """`pool.map` in tasks of `TASK` items each."""
    tasks = [items[start : start + TASK] for start in range(0, len(items), TASK)]
    return itertools.chain.from_iterable(
        pool.map(lambda task: [function(item) for item in task], tasks)
    )


def write(file: Path, records: Iterable[bytes]) -> dict:
    """Writes a shard, see `files.replacing`; returns its `Digest.facts`."""
    from array_record.python import array_record_module

    digest = Digest()
    with replacing(file) as temporary:
        # One record a group, as TFDS writes them: a random read decompresses nothing else.
        writer = array_record_module.ArrayRecordWriter(str(temporary), "group_size:1")
        try:
            for record in records:
                writer.write(record)
                digest.add(record)
        finally:
            writer.close()
    return digest.facts()


def read(file: Path, examples: int) -> Iterator[list[bytes]]:
    """The records of a shard in order, `CHUNK` at a time.

    Raises:
      UserError: the file is missing or damaged, or has another number of `examples`.
    """
    from array_record.python import array_record_module

    if not file.is_file():
        raise UserError(f"the shard {file} is missing")
    try:
        reader = array_record_module.ArrayRecordReader(str(file))
        # A file that was cut off has no index at its end, and counts as empty.
        if (found := reader.num_records()) != examples:
            raise UserError(f"the shard {file} has {found:,} records in place of {examples:,}")
        for start in range(0, examples, CHUNK):
            yield reader.read(start, min(start + CHUNK, examples))
        reader.close()
    except (RuntimeError, IndexError) as error:
        raise UserError(f"the shard {file} is damaged ({first_line(error)})") from None


def verify(file: Path, facts: dict) -> None:
    """Reads a shard back; raises `UserError` where it does not have the `facts` of `write`."""
    digest = Digest()
    for chunk in read(file, facts["examples"]):
        for record in chunk:
            digest.add(record)
    if digest.facts() != {key: facts[key] for key in digest.facts()}:
        raise UserError(f"the shard {file} is not what was written (another checksum)")
