"""What a person sees: text and tables as they are, and how far long work is.

That is a bar on a terminal, a line now and then elsewhere.
"""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cnn_jax.errors import printable

PLAIN_SECONDS = 30.0  # between two lines where there is no terminal
WIDTH = 160  # where there is none: tables are not squeezed into 80 columns


class PlainConsole(Console):
    """Prints names as they are, in tables too: brackets and colons in them are no markup.

    All commands print by it. In a console of somebody else `print_line` does the same.
    """

    def __init__(self, **options):
        super().__init__(highlight=False, **options)
        if not self.is_terminal:
            self.width = WIDTH

    def render_str(self, text: str, *, style="", justify=None, overflow=None, **_) -> Text:
        return Text(plain(text), style, justify=justify, overflow=overflow)


def plain(text: str) -> str:
    """The text as any terminal takes it."""
    return text if text.isprintable() else printable(text)


def print_line(console: Console, text: str) -> None:
    """Prints one line that is neither colored nor broken."""
    console.print(Text(plain(text)), soft_wrap=True)


def summary_table(summary: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """The last numbers of each split of a run."""
    columns = ("split", "loss", "top-1 error", "top-5 error", "accuracy")
    table = Table(*columns, title=Text(plain(title), "table.title"))
    for split, values in summary.items():
        top1, top5 = values["top1_error"], values["top5_error"]
        numbers = (f"{values['loss']:.4f}", f"{top1:.2%}", f"{top5:.2%}", f"{1 - top1:.2%}")
        table.add_row(split, *numbers)
    return table


class ProgressBar:
    """A bar for each kind of work; a context manager, so that the terminal is left in order."""

    def __init__(self, console: Console):
        self._console, self._tasks, self._printed = console, {}, time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,}/{task.total:,}"),
            TextColumn("{task.fields[text]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> "ProgressBar":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self._console.is_terminal:  # elsewhere Rich would print an empty line
            self._bar.stop()

    def show(self, work: str, done: int, total: int, text: str = "", left: str = "") -> None:
        """Shows that `done` of `total` are done.

        Args:
          work: the kind of work, such as "step"; each has a bar.
          text: stands behind the numbers.
          left: the time that remains, for plain lines; the bar measures it itself.
        """
        work, text = plain(work), plain(text)
        if work not in self._tasks:
            self._tasks[work] = self._bar.add_task(work, total=total, completed=done, text=text)
        self._bar.update(self._tasks[work], completed=done, text=text)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._printed > PLAIN_SECONDS:
            self._printed = now
            self.line("  ".join(filter(None, (f"{work} {done:,}/{total:,}", text, left))))

    def line(self, text: str) -> None:
        """Prints a line above the bar."""
        print_line(self._console, text)


class TrainingProgress:
    """The steps of a run, with loss, accuracy and speed; a context manager."""

    def __init__(self, first_step: int, total_steps: int, batch_size: int, console: Console):
        self.step = first_step  # steps done so far
        self._total, self._batch_size = total_steps, batch_size
        self._time, self._average_rate, self._last_rate = time.monotonic(), 0.0, 0.0
        self._bar = ProgressBar(console)
        self._bar.show("step", first_step, total_steps)

    def __enter__(self) -> "TrainingProgress":
        self._bar.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._bar.__exit__(*error)

    def line(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.line(text)

    def skip_time(self) -> None:
        """Leaves the time since the last update out of the speed: it was not training."""
        self._time = time.monotonic()

    def update(self, step: int, loss: float, top1_error: float) -> float:
        """Shows the state after `step`; returns images per second since the last update."""
        if step == self.step:  # another of several seeds, in the same program
            return self._last_rate
        now = time.monotonic()
        rate = (step - self.step) * self._batch_size / max(now - self._time, 1e-9)
        # The average forgets the first steps, which compilation slows down.
        before = self._average_rate or rate
        self._average_rate = 0.7 * before + 0.3 * rate
        self.step, self._time, self._last_rate = step, now, rate
        speed = f"{self._average_rate:,.0f} images/s"
        minutes = (self._total - step) * self._batch_size / self._average_rate / 60
        text = f"loss {loss:.3f}  accuracy {1 - top1_error:.1%}  {speed}"
        self._bar.show("step", step, self._total, text, f"{minutes:.0f} min left")
        return rate
