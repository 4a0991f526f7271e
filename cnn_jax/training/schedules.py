"""Learning rates: the papers' step drops, cosine, and warm-up before either."""

from collections.abc import Callable

import jax.numpy as jnp
import optax

from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.training.durations import to_steps


def create(
    *,
    schedule: str,
    warmup: str,
    warmup_shape: str,
    warmup_rate: float,
    duration: str,
    steps_per_epoch: int,
    **options,
) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
      schedule: "step" or "cosine"; `options` are the arguments of that function below.
      warmup: how long the warm-up takes, "0 steps" for none; the schedule runs on underneath.
      warmup_shape: "constant" stays at `warmup_rate` (He et al. 2016, ResNet-110: 0.01 for about
        400 steps), "linear" rises from it to the schedule.
      duration: of the whole training.
    """
    if not 0 < options.get("rate", 1.0) < float("inf"):
        raise errors.UserError(f"learning_rate.rate {options['rate']} is not a positive number")
    if schedule not in SCHEDULES:
        raise errors.unknown("learning_rate.schedule", schedule, SCHEDULES)
    if warmup_shape not in ("constant", "linear"):
        raise errors.unknown("learning_rate.warmup_shape", warmup_shape, ("constant", "linear"))
    main = configs.call(
        SCHEDULES[schedule],
        f"learning_rate ({schedule})",
        configs.ConfigDict(options),
        duration=duration,
        steps_per_epoch=steps_per_epoch,
    )
    warmup_steps = to_steps(warmup, steps_per_epoch)
    if not warmup_steps:
        return main

    def with_warmup(count):
        share = jnp.minimum(count / warmup_steps, 1.0) if warmup_shape == "linear" else 0.0
        early = warmup_rate + share * (main(count) - warmup_rate)
        return jnp.where(count < warmup_steps, early, main(count))

    return with_warmup


def step_drops(
    *, rate: float, drops: list[str], factor: float, duration: str, steps_per_epoch: int
) -> Callable:
    """`rate`, multiplied by `factor` at each of `drops`."""
    del duration
    at = [to_steps(drop, steps_per_epoch) for drop in drops]
    return optax.piecewise_constant_schedule(rate, {step: factor for step in at})


def cosine(*, rate: float, final_rate: float, duration: str, steps_per_epoch: int) -> Callable:
    """From `rate` to `final_rate` along half a cosine over the whole training."""
    total = max(to_steps(duration, steps_per_epoch), 1)
    return optax.cosine_decay_schedule(rate, total, final_rate / rate)


SCHEDULES = {"step": step_drops, "cosine": cosine}
