"""How far a run of the sweep is: read from its directory, whoever trains there."""

from typing import NamedTuple

from cnn_jax.optim.schedules import parse_duration
from cnn_jax.runs import metrics
from cnn_jax.sweeps.sweep import SweepRun


class Standing(NamedTuple):
    """What a person wants to know of a run."""

    share: float  # of the steps that it will take
    epoch: float
    seconds: float  # that it has taken
    errors: dict[str, float]  # the last top-1 error of each split

    @property
    def seconds_left(self) -> float:
        """At the speed up to now."""
        return self.seconds * (1 - self.share) / self.share if self.share else float("nan")


def standing(run: SweepRun) -> Standing:
    """Reads the end of the metrics."""
    lines = metrics.tail(run.path)
    last = lines[-1] if lines else {"epoch": 0.0, "step": 0, "seconds": 0.0}
    number, unit = parse_duration(run.config.training.duration)
    return Standing(
        share=min(last[unit] / number, 1.0),
        epoch=last["epoch"],
        seconds=last["seconds"],
        errors={line["split"]: line["top1_error"] for line in lines},
    )
