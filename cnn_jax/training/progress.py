"""What a person sees of a run: a live bar on a terminal, plain lines elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

PLAIN_SECONDS = 30.0  # between two lines of training progress where there is no terminal


class TrainingProgress:
    """Counts steps; a context manager, so that the terminal is left in order."""

    def __init__(self, first_step: int, total_steps: int, batch_size: int, console: Console):
        self.console = console
        self._total, self._batch_size = total_steps, batch_size
        self._step, self._time, self._rate = first_step, time.monotonic(), 0.0
        self._last_rate = 0.0
        self._printed = 0.0
        self._bar = Progress(
            BarColumn(bar_width=12),
            TextColumn("{task.completed:,}/{task.total:,}"),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(
            "training", total=total_steps, completed=first_step, text=""
        )

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    @property
    def step(self) -> int:
        """Steps done so far."""
        return self._step

    def skip_time(self) -> None:
        """What passed since the last update was not training."""
        self._time = time.monotonic()

    def update(self, step: int, loss: float, top1_error: float) -> float:
        """Shows the state of training; returns images per second since the last update."""
        if step == self._step:  # another of several seeds, in the same program
            return self._last_rate
        now = time.monotonic()
        rate = (step - self._step) * self._batch_size / max(now - self._time, 1e-9)
        # An average that forgets, so that the first steps, with compilation in them, do not stay.
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate
        self._step, self._time, self._last_rate = step, now, rate
        left = (self._total - step) * self._batch_size / self._rate
        text = f"loss {loss:.3f}  accuracy {1 - top1_error:.1%}  {self._rate:,.0f} images/s"
        self._bar.update(self._task, completed=step, text=text)
        if not self.console.is_terminal and now - self._printed > PLAIN_SECONDS:
            self._printed = now
            self.line(f"step {step:,}/{self._total:,}  {text}  {left / 60:.0f} min left")
        return rate

    def line(self, text: str) -> None:
        """One line above the bar."""
        self.console.print(text, highlight=False, soft_wrap=True)


def summary_table(summary: dict[str, dict[str, float]], title: str | None = None) -> Table:
    """The last numbers of each split."""
    table = Table(title=title)
    for column in ("split", "loss", "top-1 error", "top-5 error", "accuracy"):
        table.add_column(column)
    for split, values in summary.items():
        top1, top5 = values["top1_error"], values["top5_error"]
        table.add_row(
            split, f"{values['loss']:.4f}", f"{top1:.2%}", f"{top5:.2%}", f"{1 - top1:.2%}"
        )
    return table
