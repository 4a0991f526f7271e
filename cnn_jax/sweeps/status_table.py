"""What a person sees of a sweep: a table that follows all runs, plain lines elsewhere."""

import collections
import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cnn_jax.sweeps.local import Children
from cnn_jax.sweeps.run_progress import Standing, standing
from cnn_jax.sweeps.sweep import SweepRun

LIVE_SECONDS, PLAIN_SECONDS = 1.0, 60.0  # between two looks at the runs
COLORS = {"running": "cyan", "done": "green", "diverged": "red", "failed": "red"}


class LiveTable:
    """A context manager; `show` is called as often as one likes, and looks when it is time."""

    def __init__(self, children: Children, console: Console):
        self._children, self._console = children, console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._seconds = LIVE_SECONDS if console.is_terminal else PLAIN_SECONDS
        self._looked = time.monotonic()
        self._states = dict(children.states)
        self._standings = {run: standing(run) for run in children.states}

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *_) -> None:
        self._live.stop()
        self._console.print(self._table(len(self._states)))

    def show(self) -> None:
        """Tells what began or ended, and from time to time how far those are that run."""
        states = self._children.states
        for run in [run for run in states if states[run] != self._states[run]]:
            self._states[run] = states[run]
            self._standings[run] = standing(run)
            self._line(run)
        if time.monotonic() - self._looked < self._seconds:
            return
        self._looked = time.monotonic()
        for run in self._children.processes:
            self._standings[run] = standing(run)
        if self._console.is_terminal:
            self._live.update(self._table(max(self._console.height - 6, 3)), refresh=True)
        else:
            for run in self._children.processes:
                self._line(run)

    def _line(self, run: SweepRun) -> None:
        number = list(self._states).index(run) + 1
        about = self._children.messages.get(run) or ", ".join(
            f"{name} {value}"
            for name, value in cells(self._states[run], self._standings[run])
            if value
        )
        text = f"{number}/{len(self._states)}  {run.name}: {self._states[run]}  {about}"
        self._console.print(text, highlight=False, soft_wrap=True)

    def _table(self, room: int) -> Table:
        """All runs, or where the terminal is too short, those that one wants to see."""
        shown = list(self._states)
        if len(shown) > room:
            dull = ("waiting", "done")
            shown = sorted(shown, key=lambda run: self._states[run] in dull)[:room]
        columns = [name for name, _ in cells("running", Standing(0, 0, 0, {}))]
        table = Table("run", "state", *columns, title=self._title(len(self._states) - len(shown)))
        for run in sorted(shown, key=list(self._states).index):
            state = self._states[run]
            about = [value for _, value in cells(state, self._standings[run])]
            table.add_row(run.name, state, *about, style=COLORS.get(state))
        return table

    def _title(self, hidden: int) -> str:
        counts = collections.Counter(self._states.values())
        what = ", ".join(f"{count} {state}" for state, count in counts.items())
        return f"{what} ({hidden} not shown)" if hidden else what


def cells(state: str, standing: Standing) -> Iterator[tuple[str, str]]:
    """Name and text of each column of numbers; empty where there is nothing to tell."""
    begun = standing.share > 0
    yield "epoch", f"{standing.epoch:.4g}" if begun else ""
    yield "of all", f"{standing.share:.0%}" if begun else ""
    for split in ("train", "validation", "test"):
        error = standing.errors.get(split)
        yield f"{split} error", "" if error is None else f"{error:.2%}"
    yield "took", duration(standing.seconds) if begun else ""
    yield "left", duration(standing.seconds_left) if begun and state == "running" else ""


def duration(seconds: float) -> str:
    """In the unit that one thinks of."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
