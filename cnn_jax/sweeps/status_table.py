"""How far a sweep is: a table of its runs on a terminal, a line now and then elsewhere."""

import collections
import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cnn_jax.progress import print_line
from cnn_jax.sweeps import run_progress
from cnn_jax.sweeps.local import Children
from cnn_jax.sweeps.run_progress import RunProgress
from cnn_jax.sweeps.slurm import Jobs
from cnn_jax.sweeps.sweep import SweepRun

TABLE_SECONDS, PLAIN_SECONDS = 1.0, 60.0  # between two looks at the runs
COLORS = {"running": "cyan", "done": "green", "diverged": "red", "failed": "red"}


class StatusTable:
    """A context manager; `show` may be called at any time, and reads the runs when that is due."""

    def __init__(self, trained: Children | Jobs, console: Console):
        self._trained, self._console = trained, console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._seconds = TABLE_SECONDS if console.is_terminal else PLAIN_SECONDS
        self._looked = time.monotonic()
        self._states = dict(trained.states)
        self._progress = {run: run_progress.read(run) for run in trained.states}

    def __enter__(self) -> "StatusTable":
        self._live.start()
        return self

    def __exit__(self, *_) -> None:
        self._live.stop()
        self._console.print(self._table(len(self._states)))

    def show(self) -> None:
        """Prints a line for each run that began or ended; now and then shows those that train."""
        states = self._trained.states
        for run in [run for run in states if states[run] != self._states[run]]:
            self._states[run] = states[run]
            self._progress[run] = run_progress.read(run)
            self._line(run)
        if time.monotonic() - self._looked < self._seconds:
            return
        self._looked = time.monotonic()
        for run in self._trained.processes:
            self._progress[run] = run_progress.read(run)
        if self._console.is_terminal:
            self._live.update(self._table(max(self._console.height - 6, 3)), refresh=True)
        else:
            for run in self._trained.processes:
                self._line(run)

    def _line(self, run: SweepRun) -> None:
        number, state = list(self._states).index(run) + 1, self._states[run]
        about = self._trained.messages.get(run) or ", ".join(
            f"{name} {text}" for name, text in cells(state, self._progress[run]) if text
        )
        print_line(self._console, f"{number}/{len(self._states)}  {run.name}: {state}  {about}")

    def _table(self, height: int) -> Table:
        """At most `height` runs, in order; those that wait or are done are left out first."""
        shown = list(self._states)
        if len(shown) > height:
            shown.sort(key=lambda run: self._states[run] in ("waiting", "done"))
            shown = sorted(shown[:height], key=list(self._states).index)
        columns = [name for name, _ in cells("running", RunProgress(0, 0, 0, {}))]
        table = Table("run", "state", *columns, title=self._title(len(self._states) - len(shown)))
        for run in shown:
            state = self._states[run]
            texts = [text for _, text in cells(state, self._progress[run])]
            table.add_row(run.name, state, *texts, style=COLORS.get(state))
        return table

    def _title(self, hidden: int) -> str:
        counts = collections.Counter(self._states.values())
        text = ", ".join(f"{count} {state}" for state, count in counts.items())
        return f"{text} ({hidden} not shown)" if hidden else text


def cells(state: str, progress: RunProgress) -> Iterator[tuple[str, str]]:
    """Name and text of each column of numbers; an empty text where there is no number."""
    has_begun = progress.fraction > 0
    yield "epoch", f"{progress.epoch:.4g}" if has_begun else ""
    yield "of all", f"{progress.fraction:.0%}" if has_begun else ""
    for split in ("train", "validation", "test"):
        error = progress.errors.get(split)
        yield f"{split} error", "" if error is None else f"{error:.2%}"
    yield "took", duration(progress.seconds) if has_begun else ""
    yield "left", duration(progress.seconds_left) if has_begun and state == "running" else ""


def duration(seconds: float) -> str:
    """In seconds, minutes or hours, whichever a person would say."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
