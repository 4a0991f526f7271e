"""What a tracker takes of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol


class Line(NamedTuple):
    """A line of `metrics.jsonl`."""

    step: int
    split: str
    values: Mapping[str, float]

    @property
    def named(self) -> dict[str, float]:
        """The values as trackers call them: "test/top1_error"."""
        return {f"{self.split}/{name}": value for name, value in self.values.items()}


class Tracker(Protocol):
    """One run at a tracker; its methods may raise anything."""

    def add(self, lines: list[Line]) -> None:
        """Takes lines in the order of their steps; after a stop some may come a second time."""

    def close(self, status: str) -> None:
        """The run has ended: "done", "diverged", "preempted" or "failed"."""


def name_of(directory: Path) -> str:
    """What trackers call the run: the last two parts of its path, "runs/quickstart"."""
    return "/".join(directory.resolve().parts[-2:])
