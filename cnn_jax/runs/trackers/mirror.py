"""Sends a run's numbers to a tracker from a thread: one that is slow or gone holds up no run."""

import contextlib
import importlib
import queue
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cnn_jax.errors import first_line
from cnn_jax.runs.directory import read_status
from cnn_jax.runs.trackers.tracker import Line, Tracker

CLOSE_SECONDS = 60.0  # that the end of a run waits for its last numbers to be sent


class Mirror:
    """Passes lines on. A tracker that fails is left alone, with a warning; the run goes on."""

    def __init__(self, name: str, directory: Path, open_tracker: Callable[[], Tracker]):
        """Opens the tracker `name` in the thread, for the run in `directory`."""
        self._name, self._directory = name, directory
        self._waiting: queue.SimpleQueue[Line | str] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._has_warned = False
        self._thread = threading.Thread(target=self._send, args=(open_tracker,), daemon=True)
        self._thread.start()

    def add(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Takes a line; it is sent later."""
        if self._error is None:
            self._waiting.put(Line(step, split, values))
        self._warn()

    def close(self) -> None:
        """Waits until all is sent, for a minute at most."""
        status = read_status(self._directory)["status"]
        # Only the status of a run that failed is written before its metrics are closed.
        self._waiting.put("done" if status == "running" else status)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._error = TimeoutError(f"it does not answer for {CLOSE_SECONDS:.0f} s")
        self._warn()

    def _send(self, open_tracker: Callable[[], Tracker]) -> None:
        try:
            tracker, status = open_tracker(), None
            while status is None:
                found = [self._waiting.get()]
                while not self._waiting.empty():
                    found.append(self._waiting.get())
                status = found.pop() if isinstance(found[-1], str) else None
                tracker.add(found)
            tracker.close(status)
        except Exception as error:  # theirs may be any
            self._error = error

    def _warn(self) -> None:
        if self._error is not None and not self._has_warned:
            self._has_warned = True
            reason = f"{type(self._error).__name__}: {first_line(self._error)}"
            text = f"{self._name} lacks numbers of {self._directory} ({reason}); the run has them"
            warnings.warn(text, stacklevel=3)


def create(directory: Path, config: dict[str, Any], tracker: str, project: str) -> Mirror:
    """The mirror of the run in `directory` at a tracker, whose library is imported here.

    Python 3.11 parses in one thread at a time: two that import, which may parse, can fail both.

    Args:
      config: of the run.
      tracker: "wandb" or "mlflow".
      project: what the tracker collects runs in.
    """

    with contextlib.suppress(Exception):  # it may lack; then the thread fails, and says so
        importlib.import_module(tracker)

    def opened() -> Tracker:
        if tracker == "wandb":
            from cnn_jax.runs.trackers import wandb_run as module
        else:
            from cnn_jax.runs.trackers import mlflow_run as module
        return module.open_run(directory, config, project)

    return Mirror(tracker, directory, opened)
