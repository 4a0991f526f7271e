"""From the numbers of a program to lines of metrics, and to what a person sees."""

from typing import Any

import jax
import numpy as np

from cnn_jax.errors import UserError
from cnn_jax.runs.metrics import Metrics
from cnn_jax.training.build import Program, is_finite
from cnn_jax.training.progress import TrainingProgress
from cnn_jax.training.state import TrainState

DIVERGED = 3  # exit code of launch.py
EVALUATED = {"train": "train_evaluated"}  # in metrics, where "train" are the steps themselves


class Recorder:
    """Fetches the metrics of one program while the device is busy with the next."""

    def __init__(
        self, program: Program, metrics: Metrics, progress: TrainingProgress, label: str = ""
    ):
        """`label` stands before each line for a person."""
        self._program, self._metrics, self._progress = program, metrics, progress
        self._label = label
        self._pending: tuple[int, dict[str, Any]] | None = None
        self._train_errors: list[float] = []  # of the programs since the last evaluation
        self._waited = 0.0  # for data, until the last line

    def training(self, first_step: int, values: dict[str, jax.Array]) -> None:
        """Takes the metrics [K] of a program just started, and writes those of the one before."""
        self._write_pending()
        self._pending = (first_step, values)

    def flush(self, state: TrainState) -> None:
        """Writes what is left; after it, everything up to `state` is known to be finite."""
        self._write_pending()
        if not is_finite((state.params, state.batch_stats)):
            raise diverged(int(state.step), "a parameter")

    def evaluation(self, state: TrainState, step: int) -> float | None:
        """Evaluates the splits that are due, writes them, gives the validation's top-1 error."""
        plan = self._program.plan
        splits = dict.fromkeys(plan.splits)
        if step == plan.total_steps:
            splits |= dict.fromkeys(self._program.evaluate)
        weights = state.weights(self._program.weights)
        found = {split: self._program.evaluate[split](weights) for split in splits}
        results = {EVALUATED.get(split, split): values for split, values in found.items()}
        for split, values in results.items():
            if not np.isfinite(values["loss"]):
                raise diverged(step, f"the {split} loss")
            self._write(step, split, values)
        train_error = float(np.mean(self._train_errors))
        self._train_errors = []
        numbers = "  ".join(f"{s} error {v['top1_error']:.2%}" for s, v in results.items())
        epoch = step / plan.steps_per_epoch
        where = f"{self._label}epoch {epoch:.4g}  step {step:,}"
        self._progress.line(f"{where}  train error {train_error:.2%}  {numbers}")
        return results.get("validation", {}).get("top1_error")

    def _write_pending(self) -> None:
        if self._pending is None:
            return
        first, values = self._pending
        self._pending = None
        values = {name: np.asarray(value, np.float64) for name, value in values.items()}
        count = len(values["loss"])
        bad = np.flatnonzero(~np.isfinite(values["loss"]))
        if bad.size:
            raise diverged(first + int(bad[0]) + 1, "the training loss")
        means = {name: float(value.mean()) for name, value in values.items()}
        self._train_errors.append(means["top1_error"])
        step = first + count
        rate = self._progress.update(step, means["loss"], means["top1_error"])
        scale = means.pop("learning_rate_scale")  # the same in all steps between evaluations
        learning_rate = float(self._program.learning_rate(step - 1)) * scale
        more = {"learning_rate": learning_rate}
        if "skipped" in means:
            more |= {
                "skipped": round(means.pop("skipped") * count),
                "data_wait": self._wait(count, rate),
            }
        self._write(step, "train", means | more | {"images_per_second": round(rate, 1)})

    def _wait(self, count: int, rate: float) -> float:
        """The share of the time of `count` steps, at so many images per second, without data."""
        before, self._waited = self._waited, self._program.inputs.waited
        seconds = count * self._program.plan.batch_size / rate
        return round(min(1.0, (self._waited - before) / seconds), 4)

    def _write(self, step: int, split: str, values: dict[str, float]) -> None:
        epoch = step / self._program.plan.steps_per_epoch
        self._metrics.write(step, split, epoch=epoch, **values)


def diverged(step: int, what: str) -> UserError:
    """What a run says that cannot go on."""
    return UserError(
        f"{what} is not finite at step {step:,}: stopped; checkpoints from before it are kept; "
        "try a lower learning_rate.rate, or a warm-up",
        DIVERGED,
    )
