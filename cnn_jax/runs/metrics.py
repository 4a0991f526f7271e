"""`metrics.jsonl`, the truth about a run, and its mirrors: TensorBoard, trackers, `curves.png`."""

import contextlib
import json
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_jax.errors import UserError
from cnn_jax.files import replacing, set_aside, write_text

if TYPE_CHECKING:
    import jax

    from cnn_jax.runs.directory import RunDirectory
    from cnn_jax.runs.trackers.mirror import Mirror

NUMBERS = ("step", "epoch", "loss", "top1_error", "top5_error", "seconds")  # of every line
# The last fields of a line, which differ from run to run of the same config.
WALL_CLOCK = ("data_wait", "peak_memory_bytes", "images_per_second", "seconds")
COLORS = {"train": "tab:gray", "validation": "tab:blue", "test": "tab:red"}
DRAW_SECONDS = 60.0  # between two drawings of a run that trains; the first one takes two


class Metrics:
    """Appends one JSON line at a time."""

    def __init__(
        self,
        directory: Path,
        last_step: int,
        seconds: float,
        draws: bool = True,
        trackers: Sequence["Mirror"] = (),
    ):
        """Opens the file and drops the lines after `last_step`, which the run will write again.

        Damaged lines are dropped as well; the whole file is kept in `damaged/` then.

        Args:
          last_step: from which the run goes on; 0 at its start.
          seconds: what the run had taken until then.
          draws: at evaluations and at the end, `curves.png`.
          trackers: get each line, too.
        """
        self.path = directory / "metrics.jsonl"
        lines, damaged = parse(self.path.read_bytes() if self.path.exists() else b"")
        if damaged:
            set_aside(directory, self.path.name, left_out(self.path, damaged), copies=True)
        lines = [line for line in lines if line["step"] <= last_step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))
        self._drawn = time.monotonic() if draws else None
        self._start = time.monotonic() - seconds
        self._file = self.path.open("a")
        self._events = mirror(directory / "tensorboard", last_step + 1)
        self._trackers = trackers

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
        for tracker in self._trackers:
            tracker.add(step, split, values)
        if split != "train":
            self._draw(DRAW_SECONDS)

    def sync(self) -> None:
        """Returns once all lines are on disk, so that no checkpoint is ahead of its metrics."""
        os.fsync(self._file.fileno())

    def _draw(self, seconds: float) -> None:
        """Draws `curves.png`, unless that was done within the last `seconds`."""
        if self._drawn is None or time.monotonic() - self._drawn < seconds:
            return
        folder = self.path.parent
        with contextlib.suppress(OSError):  # a full disk: what is needed more will say so
            if lines := read(folder):
                draw_curves(lines, folder / "curves.png", folder.name)
        self._drawn = time.monotonic()

    def close(self) -> None:
        """Closes the file and its mirrors, and draws what the run has come to, however it ended."""
        with contextlib.suppress(OSError):  # `write` has raised it
            self._file.close()
        if self._events:
            self._events.close()
        for tracker in self._trackers:
            tracker.close()
        self._draw(seconds=0.0)


def mirror(folder: Path, next_step: int) -> Any:
    """TensorBoard's writer; None where tensorboardX is not installed."""
    try:
        with not_imported("torch"):  # takes two seconds, and numbers need nothing of it
            from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=next_step)


def open_trackers(*, run: "RunDirectory", wandb: str | None, mlflow: str | None) -> list["Mirror"]:
    """The mirrors that the group `logging` names; mostly there are none.

    Args:
      wandb: a project of Weights & Biases, "PROJECT" or "ENTITY/PROJECT".
      mlflow: an experiment of MLflow.
    """
    asked = {"wandb": wandb, "mlflow": mlflow}
    if not any(asked.values()):
        return []
    from cnn_jax.runs.trackers import mirror

    about = (run.path, run.config.to_dict())
    return [mirror.create(*about, *pair) for pair in asked.items() if pair[1]]


@contextlib.contextmanager
def not_imported(module: str) -> Iterator[None]:
    """Meanwhile a module cannot be imported, unless it has been already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # how Python marks what is not there
    try:
        yield
    finally:
        del sys.modules[module]


def read(directory: Path) -> list[dict]:
    """The lines of `metrics.jsonl`, without a last one that a kill cut short.

    Damaged ones are left out, with a warning.
    """
    path = directory / "metrics.jsonl"
    lines, damaged = parse(path.read_bytes() if path.exists() else b"")
    if damaged:
        warnings.warn(left_out(path, damaged), stacklevel=2)
    return lines


def parse(content: bytes) -> tuple[list[dict], list[int]]:
    """The lines that are whole, and the numbers of those that are damaged, from 1."""
    lines, damaged = [], []
    *ended, last = content.split(b"\n")
    for number, text in enumerate(ended, 1):
        line = parse_line(text)
        damaged += [number] if line is None else []
        lines += [] if line is None else [line]
    if (line := parse_line(last)) is not None:  # cut short by no more than its end of line
        lines.append(line)
    return lines, damaged


def parse_line(text: bytes) -> dict | None:
    """The object in a line; None where it is damaged."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not (isinstance(line, dict) and isinstance(line.get("split"), str)):
        return None
    return line if all(isinstance(line.get(name), int | float) for name in NUMBERS) else None


def left_out(path: Path, damaged: list[int]) -> str:
    """What there is to say of damaged lines."""
    return f"{path} is damaged in line {', '.join(map(str, damaged))}, which is left out"


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
        content = file.read()
        if file.tell() > size:  # begins in mid line
            content = content.partition(b"\n")[2]
    return parse(content)[0]


def draw_curves(lines: list[dict], path: Path, title: str) -> None:
    """Draws the lines of `metrics.jsonl` into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for split, color in COLORS.items():
        rows = [line for line in lines if line["split"] == split]
        if not rows:
            continue
        epochs = [row["epoch"] for row in rows]
        marker = "o" if len(rows) == 1 else None
        axes[0].plot(epochs, [row["loss"] for row in rows], color=color, label=split, marker=marker)
        errors = [100 * row["top1_error"] for row in rows]
        axes[1].plot(epochs, errors, color=color, label=split, marker=marker)
    axes[0].set(xlabel="epoch", ylabel="cross entropy", yscale="log")
    axes[1].set(xlabel="epoch", ylabel="top-1 error, %", ylim=(0, None))
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[1].legend()
    figure.suptitle(title.encode(errors="replace").decode(), parse_math=False)  # any folder's name
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


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
