"""`metrics.jsonl`, the truth about a run, and its mirror for TensorBoard."""

import contextlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_jax.errors import UserError, first_line
from cnn_jax.files import write_text

if TYPE_CHECKING:
    import jax

# The last fields of a line, which differ from run to run of the same config.
WALL_CLOCK = ("data_wait", "peak_memory_bytes", "images_per_second", "seconds")


class Metrics:
    """Appends one JSON line at a time."""

    def __init__(self, directory: Path, last_step: int, seconds: float):
        """Opens the file and drops the lines after `last_step`, which the run will write again.

        Args:
          last_step: from which the run goes on; 0 at its start.
          seconds: what the run had taken until then.
        """
        self.path = directory / "metrics.jsonl"
        lines = [line for line in read(directory) if line["step"] <= last_step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))
        self._start = time.monotonic() - seconds
        self._file = self.path.open("a")
        self._events = mirror(directory / "tensorboard", last_step + 1)

    @property
    def seconds(self) -> float:
        """How long the run has trained so far, before its interruptions too."""
        return time.monotonic() - self._start

    def write(self, step: int, split: str, **values: float) -> None:
        """Writes one line; once this returns, the line survives the end of this process."""
        line = {"step": step, "split": split, **values, "seconds": round(self.seconds, 3)}
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"cannot write {self.path} ({error.strerror}); the last checkpoint is whole, "
                "the same command goes on from there"
            ) from error
        for name, value in values.items():
            if self._events and name != "epoch":
                self._events.add_scalar(f"{split}/{name}", value, step)

    def sync(self) -> None:
        """Returns once all lines are on disk, so that no checkpoint is ahead of its metrics."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes both files."""
        with contextlib.suppress(OSError):  # `write` has raised it
            self._file.close()
        if self._events:
            self._events.close()


def mirror(folder: Path, next_step: int) -> Any:
    """TensorBoard's writer; None where tensorboardX is not installed."""
    try:  # takes two seconds where PyTorch is installed, which it imports
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=next_step)


def read(directory: Path) -> list[dict]:
    """The lines of `metrics.jsonl`, without a last one that a kill cut short."""
    path = directory / "metrics.jsonl"
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    try:
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except ValueError as error:
        raise UserError(f"{path} is damaged: {first_line(error)}") from None


def summary(directory: Path) -> dict[str, dict]:
    """The last line of each split."""
    return {line.pop("split"): line for line in read(directory)}


def tail(directory: Path, size: int = 2**16) -> list[dict]:
    """The lines within the last `size` bytes: enough to show how far a long run is."""
    path = directory / "metrics.jsonl"
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - size))
        text = file.read()
        whole = text.splitlines(keepends=True)[1 if file.tell() > size else 0 :]
    return [json.loads(line) for line in whole if line.endswith(b"\n")]


def by_evaluations(directory: Path) -> list[dict]:
    """The lines of evaluations, and before those of a step one of split "train".

    That is the mean of the training metrics since the evaluation before.
    """
    rows, since = [], []
    for line in read(directory):
        if line["split"] == "train":
            since.append(line)
            continue
        if since:
            means = {k: sum(row[k] for row in since) / len(since) for k in ("loss", "top1_error")}
            when = {k: line[k] for k in ("step", "epoch", "seconds")}
            rows.append({"split": "train", **means, **when})
            since = []
        rows.append(line)
    return rows


def reproducible(directory: Path) -> bytes:
    """`metrics.jsonl` without times: equal, byte for byte, in two runs of a config."""
    rows = [{k: v for k, v in line.items() if k not in WALL_CLOCK} for line in read(directory)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def peak_memory(devices: Iterable["jax.Device"]) -> int | None:
    """The most bytes that one of the devices has held since this process began.

    None where they do not report it, as CPUs.
    """
    stats = [device.memory_stats() or {} for device in devices]
    return max((s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s), default=None)
