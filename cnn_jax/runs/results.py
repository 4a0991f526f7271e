"""`results.json`: the numbers of `launch.py eval`, a value for each evaluation, oldest first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_jax.files import read_undamaged, write_json

FOLDER = "evaluations"  # in the directory of a run
FILE = "results.json"


def read(folder: Path) -> list[dict[str, Any]]:
    """The evaluations that a folder has; none where it has no `results.json`, or a damaged one."""
    found = read_undamaged(folder / FILE, [])
    return [one for one in found if isinstance(one, dict) and "files" in one]


def add(folder: Path, result: dict[str, Any]) -> None:
    """Adds an evaluation; it replaces an earlier one whose "files" are in the same folder."""
    kept = [old for old in read(folder) if old["files"] != result["files"]]
    write_json(folder / FILE, [*kept, result])


def by_protocol(
    found: Sequence[Mapping[str, Any]], protocol: Mapping[str, Any], **about: Any
) -> dict[str, Any] | None:
    """The latest evaluation by a protocol, None where there is none.

    Args:
      found: evaluations, oldest first.
      protocol: its settings, all of which must be equal. An evaluation from before November 2026
        does not tell its settings, and is by no protocol.
      about: what else must be equal, such as `step`, `split` and `weights`.
    """
    for result in reversed(found):
        settings = result.get("settings", {})
        same = all(settings.get(name) == as_json(value) for name, value in protocol.items())
        if settings and same and all(result.get(name) == value for name, value in about.items()):
            return result
    return None


def of_last_step(
    found: Sequence[Mapping[str, Any]],
    protocol: Mapping[str, Any],
    summary: Mapping[str, Mapping[str, Any]],
    weights: str,
) -> dict[str, Any] | None:
    """The latest evaluation by a protocol that is a run's result; None where there is none.

    It is of the last step, on the test split, or on the validation split where there is no test
    split.

    Args:
      found: the run's evaluations, oldest first.
      protocol: see `by_protocol`.
      summary: the last metrics of each split.
      weights: those that the run evaluates, "raw" or "ema".
    """
    split = "test" if "test" in summary else "validation"
    about = {"split": split, "step": summary["train"]["step"], "weights": weights}
    return by_protocol(found, protocol, **about)


def as_json(value: Any) -> Any:
    """The value as a JSON file gives it back: tuples are lists."""
    return list(value) if isinstance(value, tuple) else value
