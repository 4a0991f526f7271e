"""`results.json`: the numbers of `launch.py eval`, a value for each evaluation, oldest first."""

from pathlib import Path
from typing import Any

from cnn_jax.files import write_json
from cnn_jax.runs.directory import read_json

FOLDER = "evaluations"  # in the directory of a run
FILE = "results.json"


def read(folder: Path) -> list[dict[str, Any]]:
    """The evaluations that a folder has; none where it has no `results.json`."""
    path = folder / FILE
    return read_json(path) if path.exists() else []


def add(folder: Path, result: dict[str, Any]) -> None:
    """Adds an evaluation; it replaces an earlier one whose "files" are in the same folder."""
    kept = [old for old in read(folder) if old["files"] != result["files"]]
    write_json(folder / FILE, [*kept, result])
