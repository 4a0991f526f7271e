"""The learning rate of a recipe: one of the schedules of `rates`, and warm-up before it."""

from dataclasses import dataclass

import jax.numpy as jnp
import optax

from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.optim import plateau, rates
from cnn_jax.optim.durations import to_steps


@dataclass(frozen=True)
class LearningRate:
    """The rate as a function of the step, warm-up included; `plateau` scales all of it."""

    schedule: optax.Schedule
    plateau: plateau.Rule | None

    def __call__(self, step):
        """The rate of the update number `step` (from 0), before any drop at a plateau."""
        return self.schedule(step)


def create(
    *,
    schedule: str,
    warmup: str,
    warmup_shape: str,
    warmup_rate: float,
    duration: str,
    steps_per_epoch: int,
    **options,
) -> LearningRate:
    """The learning rate of a recipe.

    Args:
      schedule: a name in `rates.SCHEDULES`; `options` are the arguments of its function there.
      warmup: how long the warm-up takes, "0 steps" for none; the schedule runs on underneath.
      warmup_shape: "constant" stays at `warmup_rate` (He et al. 2016, ResNet-110: 0.01 for about
        400 steps), "linear" rises from it to the schedule.
      duration: of the whole training.

    Raises:
      UserError: an unknown name, or a number that cannot be.
    """
    if schedule not in rates.SCHEDULES:
        raise errors.unknown("learning_rate.schedule", schedule, rates.SCHEDULES)
    if warmup_shape not in ("constant", "linear"):
        raise errors.unknown("learning_rate.warmup_shape", warmup_shape, ("constant", "linear"))
    made = configs.call(
        rates.SCHEDULES[schedule],
        f"learning_rate ({schedule})",
        configs.ConfigDict(options),
        span=rates.Span(max(to_steps(duration, steps_per_epoch), 1), steps_per_epoch),
    )
    main, rule = made if schedule == "plateau" else (made, None)
    warmup_steps = to_steps(warmup, steps_per_epoch)
    if not warmup_steps:
        return LearningRate(main, rule)

    def with_warmup(count):
        share = jnp.minimum(count / warmup_steps, 1.0) if warmup_shape == "linear" else 0.0
        early = warmup_rate + share * (main(count) - warmup_rate)
        return jnp.where(count < warmup_steps, early, main(count))

    return LearningRate(with_warmup, rule)
