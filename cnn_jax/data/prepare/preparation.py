"""`preparation.json`, the notes of a preparation: what it is made from, and its finished shards."""

import contextlib
import json
import shutil
from pathlib import Path

from cnn_jax import files
from cnn_jax.errors import UserError, first_line

FILE = "preparation.json"
FACTS = {"examples", "bytes", "sha256", "shape", "skipped"}  # of a shard


def begin(incomplete: Path, made_from: list) -> dict:
    """The notes of an interrupted preparation from the same files, else those of a new one."""
    with contextlib.suppress(UserError):  # of damaged notes, as good as none
        notes = read(incomplete)
        if notes["made_from"] == made_from:
            files.remove_leftovers(incomplete)
            return notes
    shutil.rmtree(incomplete, ignore_errors=True)
    incomplete.mkdir()
    notes = {"made_from": made_from, "shards": {}}
    write(incomplete, notes)
    return notes


def of_complete(final: Path, made_from: list) -> dict:
    """The notes of a complete data set; raises `UserError` where it was made from others."""
    notes = read(final)
    if notes["made_from"] != made_from:
        raise UserError(
            f"{final} is there, made from other files or with another --on_error; "
            "remove it, or choose another --data_dir"
        )
    return notes


def read(place: Path) -> dict:
    """Reads `preparation.json`; has no shards where there is none, as where TFDS prepared the data.

    Raises `UserError` where it is damaged.
    """
    file = place / FILE
    if not file.is_file():
        return {"made_from": None, "shards": {}}
    try:
        notes = json.loads(file.read_bytes())
        # Data sets that were prepared before there was a checksum have none.
        if notes.pop("checksum", None) not in (None, files.checksum_of(notes)):
            raise ValueError("another checksum")
        if set(notes) != {"made_from", "shards"}:
            raise ValueError(f"it has {', '.join(notes)}")
        for facts in notes["shards"].values():
            if not set(facts) >= FACTS:
                raise ValueError("a shard lacks a fact")
    # Of JSON that is no mapping, or one of something else.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file} is damaged ({first_line(error)}); remove {place} and prepare the data again"
        ) from None
    return notes


def write(place: Path, notes: dict) -> None:
    """Writes `preparation.json`."""
    files.write_json(place / FILE, {**notes, "checksum": files.checksum_of(notes)})
