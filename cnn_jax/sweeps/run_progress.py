"""How far a run of a sweep is, read from its directory, whoever trains there."""

from typing import NamedTuple

from cnn_jax.optim.schedules import parse_duration
from cnn_jax.runs import metrics
from cnn_jax.sweeps.sweep import SweepRun


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
