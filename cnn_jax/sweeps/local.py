"""Trains the runs of a sweep on this machine, several at a time, each in a process of its own."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cnn_jax.cluster import preemption
from cnn_jax.errors import DIVERGED, STOPPED, UserError
from cnn_jax.runs.directory import is_open
from cnn_jax.sweeps import die_with_parent
from cnn_jax.sweeps.run_progress import FINISHED, state
from cnn_jax.sweeps.sweep import SweepRun

POLL_SECONDS = 0.2


class Children:
    """The runs of a sweep and the processes that train them, which end with this process."""

    def __init__(self, runs: Sequence[SweepRun], launch: Path):
        """`launch` is `cnn_jax/__main__.py`."""
        # Of each run: "waiting", "running", "stopped", "failed", "done" or "diverged".
        self.states = {run: state(run) for run in runs}
        self.messages: dict[SweepRun, str] = {}  # of those that ended badly
        self.processes: dict[SweepRun, subprocess.Popen] = {}
        self._launch = launch

    def start(self, run: SweepRun, environment: Mapping[str, str]) -> None:
        """Starts or continues a run; its output goes to its log."""
        run.path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(self._launch), *run.arguments]
        with run.log.open("a") as log:
            self.processes[run] = subprocess.Popen(
                [sys.executable, die_with_parent.__file__, str(os.getpid()), *command],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C comes to this process, which passes it on
            )
        self.states[run] = "running"

    def reap(self) -> list[SweepRun]:
        """Notes how processes ended; returns the runs that ended since the last call."""
        ended = [run for run, process in self.processes.items() if process.poll() is not None]
        for run in ended:
            code = self.processes.pop(run).returncode
            names = {0: "done", DIVERGED: "diverged", STOPPED: "stopped"}
            self.states[run] = names.get(code, "failed")
            if code:
                self.messages[run] = last_words(run.log, code)
        return ended

    def send(self, number: int) -> None:
        """Sends a signal to all processes."""
        for process in self.processes.values():
            process.send_signal(number)


def train(
    children: Children,
    environments: Sequence[Mapping[str, str]],
    show: Callable[[], None],
) -> None:
    """Trains all runs that are not finished; one that fails does not stop the others.

    Args:
      environments: variables of each run that may train at the same time, see `devices.places`.
      show: is called a few times a second.

    Raises:
      UserError: stopped by a signal, once all processes have saved and ended (exit code 75).
    """
    states = children.states
    waiting = [run for run in states if states[run] == "waiting"]
    free = list(environments)
    taken: dict[SweepRun, Mapping[str, str]] = {}
    with passed_on(children) as signals:
        while (waiting and not signals) or children.processes:
            for run in children.reap():
                free.append(taken.pop(run))
            # Another process may train a run still, such as one of the last sweep that saves.
            startable = [run for run in waiting if not is_open(run.path)] if free else []
            for run in startable[: len(free)]:
                waiting.remove(run)
                states[run] = state(run)
                if states[run] == "waiting" and not signals:
                    taken[run] = free.pop(0)
                    children.start(run, taken[run])
                    if signals:  # it came before the child was there to get it
                        children.send(signals[0])
            show()
            time.sleep(POLL_SECONDS)
    if signals:
        done = sum(name in FINISHED for name in states.values())
        name = signal.Signals(signals[0]).name
        raise UserError(
            f"{name}: {done} of {len(states)} runs are finished, the others stopped; "
            "the same command goes on from there",
            STOPPED,
        )


@contextlib.contextmanager
def passed_on(children: Children) -> Iterator[list[int]]:
    """Passes signals that ask to stop on to the children; yields the list of those that came."""
    came: list[int] = []

    def note(number, _frame):
        came.append(number)
        children.send(number)

    before = {number: signal.signal(number, note) for number in preemption.heard()}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def alone_in(workdir: Path, what: str = "sweep") -> Iterator[None]:
    """Makes the directory, and locks it against other sweeps, or what else works there.

    Raises `UserError` where it cannot be written, or another one is running in it.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = (workdir / ".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another {what} is running in {workdir}") from None
    except OSError as error:
        raise UserError(
            f"cannot write the directory {workdir} ({error.strerror}); "
            "choose another with --workdir=DIR"
        ) from None
    with lock:
        yield


def last_words(log: Path, code: int) -> str:
    """The last line that a process printed, or how it ended."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else f"exit code {code}"
