"""A run being written: its metrics, its checkpoints, its status, and what a person sees of it."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from cnn_jax.cluster.join import ProcessGroup
from cnn_jax.errors import DIVERGED, UserError, facts
from cnn_jax.optim import plateau
from cnn_jax.progress import TrainingProgress
from cnn_jax.runs.checkpoints import Checkpoints
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.runs.metrics import Metrics, open_trackers, peak_memory
from cnn_jax.training.build import Setup, make_part
from cnn_jax.training.steps import TrainState, is_finite

Fetch = Callable[[], dict[str, np.ndarray]]  # the metrics [K] of a program, once it has ended
EVALUATED = {"train": "train_evaluated"}  # in metrics, where "train" are the steps themselves


class RunWriter:
    """Writes one run; once its network has diverged it writes no more.

    The metrics of a program are fetched while the devices are busy with the next one.
    """

    def __init__(
        self,
        setup: Setup,
        directory: RunDirectory,
        checkpoints: Checkpoints | None,
        progress: TrainingProgress,
        group: ProcessGroup,
        *,
        seconds: float,
        label: str = "",
    ):
        """Goes on at the step of `progress`.

        Args:
          checkpoints: None in a process that writes none.
          seconds: that the run had taken by then.
          label: stands before each line for a person.
        """
        self.directory, self.label = directory, label
        self.failure: UserError | None = None
        self._setup, self._progress, self._group = setup, progress, group
        self._checkpoints = checkpoints
        is_first = group.index == 0  # the others write for nobody
        trackers = is_first and make_part(directory.config, open_trackers, "logging", run=directory)
        self._metrics = Metrics(directory.path, progress.step, seconds, is_first, trackers or ())
        # The first step of the last program, and what fetches its metrics as the next has started.
        self._pending: tuple[int, Fetch] | None = None
        self._data_wait_seconds: float | None = None  # since the last line; None of data in memory
        self._train_errors: list[float] = []  # of the programs since the last evaluation
        directory.set_status("running")

    def log_steps(self, first_step: int, fetch: Fetch, data_wait_seconds: float | None) -> None:
        """Takes what fetches the metrics of a program just started; writes the one before it."""
        if not self.failure:
            with self._diverging():
                if data_wait_seconds is not None:
                    self._data_wait_seconds = (self._data_wait_seconds or 0.0) + data_wait_seconds
                self._write_pending()
                self._pending = (first_step, fetch)

    def evaluate_and_save(self, state: TrainState, step: int, evaluates: bool) -> TrainState:
        """Evaluates if that is due and starts to write; gives the state to go on with."""
        if self.failure:
            return state
        with self._diverging():
            self._write_pending()
            if not is_finite((state.params, state.batch_stats)):
                raise diverged(step, "a parameter")
            error = self._evaluate(state, step) if evaluates else None
            if error is not None and self._setup.parts.learning_rate.plateau:
                state = state.replace(opt_state=plateau.observe(state.opt_state, error))
            self._metrics.sync()
            self.directory.check_exists()
            arrays = self._group.gather(state)
            if self._checkpoints:
                self._checkpoints.save(step, arrays, self._metrics.seconds, error)
        return state

    def wait(self) -> None:
        """Until what is being written is on disk."""
        if self._checkpoints:
            self._checkpoints.wait()

    def close(self) -> None:
        """Closes the metrics."""
        self._metrics.close()

    @contextlib.contextmanager
    def _diverging(self) -> Iterator[None]:
        """A loss or parameters that are not finite end this run, and no other."""
        try:
            yield
        except UserError as error:
            if error.exit_code != DIVERGED:
                raise
            note_failure(self.directory, "diverged", error)
            self.failure = error

    def _evaluate(self, state: TrainState, step: int) -> float | None:
        """Evaluates the splits that are due, writes them, gives the validation's top-1 error."""
        setup, plan = self._setup, self._setup.plan
        splits = dict.fromkeys(plan.splits)
        if step == plan.total_steps:
            splits |= dict.fromkeys(setup.evaluate)
        weights = state.weights(setup.parts.config.evaluation.weights)
        results = {EVALUATED.get(s, s): setup.evaluate[s](weights) for s in splits}
        for split, values in results.items():
            if not np.isfinite(values["loss"]):
                raise diverged(step, f"the {split} loss")
            self._write(step, split, values)
        train_error = float(np.mean(self._train_errors))
        self._train_errors = []
        numbers = "  ".join(f"{s} error {v['top1_error']:.2%}" for s, v in results.items())
        epoch = step / plan.steps_per_epoch
        where = f"{self.label}epoch {epoch:.4g}  step {step:,}"
        self._progress.line(f"{where}  train error {train_error:.2%}  {numbers}")
        return results.get("validation", {}).get("top1_error")

    def _write_pending(self) -> None:
        if self._pending is None:
            return
        (first, fetch), self._pending = self._pending, None
        values = {name: np.asarray(value, np.float64) for name, value in fetch().items()}
        count = len(values["loss"])
        bad = np.flatnonzero(~np.isfinite(values["loss"]))
        if bad.size:
            raise diverged(first + int(bad[0]) + 1, "the training loss")
        learning_rate = float(str(np.float32(values.pop("learning_rate")[-1])))  # 0.1 as 0.1
        skipped = values.pop("skipped", None)
        means = {name: float(value.mean()) for name, value in values.items()}
        self._train_errors.append(means["top1_error"])
        rate = self._progress.update(first + count, means["loss"], means["top1_error"])
        line = means | {"learning_rate": learning_rate}
        if skipped is not None:
            line["skipped"] = round(skipped.sum())
        if self._data_wait_seconds is not None:  # as a fraction of the time since the last line
            seconds = count * self._setup.plan.batch_size / rate
            line["data_wait"] = round(min(1.0, self._data_wait_seconds / seconds), 4)
            self._data_wait_seconds = 0.0
        if (peak := peak_memory(self._setup.seeds.by_example.addressable_devices)) is not None:
            line["peak_memory_bytes"] = peak
        self._write(first + count, "train", line | {"images_per_second": round(rate, 1)})

    def _write(self, step: int, split: str, values: dict[str, float]) -> None:
        epoch = step / self._setup.plan.steps_per_epoch
        self._metrics.write(step, split, epoch=epoch, **values)


def note_failure(directory: RunDirectory, status: str, error: BaseException) -> None:
    """Writes why a run ended early."""
    with contextlib.suppress(OSError, UserError):  # a full disk, a lost folder: the error says so
        directory.set_status(status, **facts(error))


def diverged(step: int, what: str) -> UserError:
    """The error of a run that cannot go on."""
    return UserError(
        f"{what} is not finite at step {step:,}: stopped; checkpoints from before it are kept; "
        "try a lower learning_rate.rate, or a warm-up",
        DIVERGED,
    )
