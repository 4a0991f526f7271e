"""How far a run of a sweep is, read from its directory, whoever trains there."""

from typing import NamedTuple

from cnn_jax.files import read_undamaged
from cnn_jax.optim.schedules import parse_duration
from cnn_jax.runs import metrics, results
from cnn_jax.runs.directory import MEASUREMENTS, read_status
from cnn_jax.sweeps.sweep import SweepRun

FINISHED = ("done", "diverged")  # states of runs that are not started again


class RunProgress(NamedTuple):
    """How far a run is, how long that took, and its errors."""

    fraction: float  # of its steps that are done, 0-1
    epoch: float
    seconds: float  # that it has taken
    errors: dict[str, float]  # the last top-1 error of each split, 0-1

    @property
    def seconds_left(self) -> float:
        """What remains at the speed up to now; NaN before the first step."""
        return self.seconds * (1 - self.fraction) / self.fraction if self.fraction else float("nan")


def read(run: SweepRun) -> RunProgress:
    """Reads the last lines of the run's metrics."""
    lines = metrics.tail(run.path)
    last = lines[-1] if lines else {"epoch": 0.0, "step": 0, "seconds": 0.0}
    number, unit = parse_duration(run.config.training.duration)
    return RunProgress(
        fraction=min(last[unit] / number, 1.0),
        epoch=last["epoch"],
        seconds=last["seconds"],
        errors={line["split"]: line["top1_error"] for line in lines},
    )


def state(run: SweepRun) -> str:
    """The state of a run that nobody trains: "done", "diverged" or "waiting".

    One that lacks an evaluation by its row's protocols, or a measurement, is not done.
    """
    status = read_status(run.path)["status"]
    if status not in FINISHED:
        return "waiting"
    return "waiting" if status == "done" and lacks(run) else status


def lacks(run: SweepRun) -> bool:
    """Whether a trained run has still to be evaluated, or measured."""
    if run.arguments[0] == "compress":
        return not read_undamaged(run.path / MEASUREMENTS, {})
    found = results.read(run.path / results.FOLDER)
    about = metrics.summary(run.path), run.config.evaluation.weights
    return not all(results.of_last_step(found, p, *about) for p in run.protocols)
