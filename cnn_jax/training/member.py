"""One of the networks that a program trains, and what it leaves on disk."""

import contextlib
from collections.abc import Iterator
from typing import Any

from cnn_jax.cluster import processes
from cnn_jax.errors import UserError, first_line
from cnn_jax.optim.plateau import observe
from cnn_jax.runs.checkpoints import Checkpoints
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.runs.metrics import Metrics
from cnn_jax.training.build import Program
from cnn_jax.training.progress import TrainingProgress
from cnn_jax.training.recorder import DIVERGED, Recorder
from cnn_jax.training.state import TrainState


class Member:
    """A run of its own; once its network has diverged it takes no more part."""

    def __init__(self, program: Program, directory: RunDirectory):
        self.directory = directory
        self.failure: UserError | None = None
        self._checkpoints = None
        if processes.is_first():
            keep_best = "validation" in program.plan.splits
            self._checkpoints = Checkpoints(directory.path / "checkpoints", keep_best)
        self._program = program

    def restore(self, limit: int | None) -> tuple[TrainState | None, int, float]:
        """The newest state (up to step `limit`), its step, and the seconds until then.

        None, 0 and 0.0 where there is no checkpoint.
        """
        template = self._program.state_template
        first = self._checkpoints
        restored = first.restore_latest(template, limit) if first else None
        what = f"the checkpoint of {self.directory.name} to {limit}"
        about = processes.broadcast_json(what, restored and restored[1])
        if about is None:
            return None, 0, 0.0
        state = processes.broadcast(restored and restored[0], template)
        return state, int(state.step), about["seconds"]

    def begin(self, step: int, seconds: float, progress: TrainingProgress, label: str) -> None:
        """Opens the metrics from `step` on; `label` stands before what it prints."""
        self._metrics = Metrics(self.directory.path, step, seconds)
        self._recorder = Recorder(self._program, self._metrics, progress, label)
        self.directory.set_status("running")

    def training(self, first_step: int, values: dict[str, Any]) -> None:
        """Takes the metrics [K] of a program just started."""
        if not self.failure:
            with self._diverging():
                self._recorder.training(first_step, values)

    def save(self, state: TrainState, step: int, evaluates: bool) -> TrainState:
        """Evaluates if that is due and starts to write; gives the state to go on with."""
        if self.failure:
            return state
        with self._diverging():
            self._recorder.flush(state)
            error = self._recorder.evaluation(state, step) if evaluates else None
            if error is not None:
                state = state.replace(opt_state=observe(state.opt_state, error))
            self._metrics.sync()
            whole = processes.gather(state)
            if self._checkpoints:
                self._checkpoints.save(step, whole, self._metrics.seconds, error)
        return state

    def wait(self) -> None:
        """Until what is being written is on disk."""
        if self._checkpoints:
            self._checkpoints.wait()

    def fail(self, status: str, error: BaseException) -> None:
        """Notes why the run ended early."""
        with contextlib.suppress(OSError):  # a full disk is what the error says
            self.directory.set_status(status, message=first_line(error))

    def close(self) -> None:
        """Closes what is open."""
        if hasattr(self, "_metrics"):
            self._metrics.close()
        if self._checkpoints:
            self._checkpoints.close()

    @contextlib.contextmanager
    def _diverging(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            if error.exit_code != DIVERGED:
                raise
            self.failure = error
            self.fail("diverged", error)
