"""The learning rate of a recipe: the papers' schedules, warm-up before them, and their lengths.

A schedule is a function from the number of updates made so far to the rate of the next one, traced
as part of the training step.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import optax

from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.optim import plateau

WARMUP_SHAPES = ("constant", "linear")
ONE_CYCLE_SHAPES = ("linear", "cosine")


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
      schedule: a name in `SCHEDULES`; `options` are the arguments of its function.
      warmup: how long the warm-up takes, "0 steps" for none; the schedule runs on underneath.
      warmup_shape: "constant" stays at `warmup_rate` (He et al. 2016, ResNet-110: 0.01 for about
        400 steps), "linear" rises from it to the schedule.
      duration: of the whole training.

    Raises:
      UserError: an unknown name, or a number out of its range.
    """
    if schedule not in SCHEDULES:
        raise errors.unknown("learning_rate.schedule", schedule, SCHEDULES)
    if warmup_shape not in WARMUP_SHAPES:
        raise errors.unknown("learning_rate.warmup_shape", warmup_shape, WARMUP_SHAPES)
    made = configs.call(
        SCHEDULES[schedule],
        f"learning_rate ({schedule})",
        configs.ConfigDict(options),
        span=Span(max(to_steps(duration, steps_per_epoch), 1), steps_per_epoch),
    )
    main, rule = made if schedule == "plateau" else (made, None)
    warmup_steps = to_steps(warmup, steps_per_epoch)
    if not warmup_steps:
        return LearningRate(main, rule)

    def with_warmup(count):
        risen = jnp.minimum(count / warmup_steps, 1.0) if warmup_shape == "linear" else 0.0
        early = warmup_rate + risen * (main(count) - warmup_rate)
        return jnp.where(count < warmup_steps, early, main(count))

    return LearningRate(with_warmup, rule)


def parse_duration(duration: str) -> tuple[float, str]:
    """Number and unit, "step" or "epoch", of "64000 steps", "0.5 epochs" or "1 epoch"."""
    match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(step|epoch)s?\s*", duration)
    if not match:
        raise errors.UserError(
            f"cannot read the duration {duration!r}: write '64000 steps' or '10 epochs'"
        )
    return float(match[1]), match[2]


def to_steps(duration: str, steps_per_epoch: int) -> int:
    """The number of steps in a duration, to the nearest one."""
    number, unit = parse_duration(duration)
    return round(number * (steps_per_epoch if unit == "epoch" else 1))


class Span(NamedTuple):
    """What a schedule runs over."""

    total_steps: int
    steps_per_epoch: int


def constant(*, rate: float, span: Span) -> Callable:
    """`rate` throughout."""
    del span
    check_positive(rate=rate)
    return optax.constant_schedule(rate)


def step_drops(*, rate: float, drops: list[str], factor: float, span: Span) -> Callable:
    """`rate`, multiplied by `factor` at each of `drops`."""
    check_positive(rate=rate, factor=factor)
    at = [to_steps(drop, span.steps_per_epoch) for drop in drops]
    return optax.piecewise_constant_schedule(rate, {step: factor for step in at})


def exponential(*, rate: float, factor: float, every: str, staircase: bool, span: Span) -> Callable:
    """`rate`, multiplied by `factor` each time that `every` ("2 epochs") has passed.

    At once if `staircase` (Szegedy et al. 2016, section 8: 0.94 every two epochs), else evenly.
    """
    check_positive(rate=rate, factor=factor)
    period = to_steps(every, span.steps_per_epoch)
    if period < 1:
        raise errors.UserError(f"learning_rate.every is {every!r}, which is no step at all")
    if not staircase:
        return optax.exponential_decay(rate, period, factor)
    # The periods are counted in whole numbers. optax's own `staircase` rounds a quotient down, and
    # the compiled quotient of 41 by 41 is less than 1: that drop would come one step late.
    decay = optax.exponential_decay(rate, transition_steps=1, decay_rate=factor)
    return lambda count: decay(count // period)


def polynomial(*, rate: float, final_rate: float, power: float, span: Span) -> Callable:
    """`final_rate` + (`rate` - `final_rate`) (fraction of the training that is left) ^ `power`.

    Caffe's `poly`; with power 1 the straight line of SqueezeNet's solver.
    """
    check_positive(rate=rate, power=power)
    check_not_negative(final_rate=final_rate)

    def schedule(count):
        # optax's has 1 - count / total: compiled, it misses 0 at the end of most trainings, and
        # where it falls below, as for a total of 7 steps, its root is not a number.
        left = span.total_steps - jnp.minimum(count, span.total_steps)
        return final_rate + (rate - final_rate) * (left / span.total_steps) ** power

    return schedule


def cosine(*, rate: float, final_rate: float, span: Span) -> Callable:
    """From `rate` to `final_rate` along half a cosine over the whole training."""
    check_positive(rate=rate)
    check_not_negative(final_rate=final_rate)
    return optax.cosine_decay_schedule(rate, span.total_steps, final_rate / rate)


def one_cycle(
    *, rate: float, start_rate: float, final_rate: float, rise: float, shape: str, span: Span
) -> Callable:
    """From `start_rate` up to `rate`, at the fraction `rise` of the training, and to `final_rate`.

    Each way is a straight line ("linear", Smith & Topin 2017, arXiv:1708.07120) or half a cosine
    ("cosine", as PyTorch's and fast.ai's).
    """
    check_positive(rate=rate, start_rate=start_rate)
    check_not_negative(final_rate=final_rate)
    if shape not in ONE_CYCLE_SHAPES:
        raise errors.unknown("learning_rate.shape", shape, ONE_CYCLE_SHAPES)
    top = round(rise * span.total_steps)
    if not 0 < top < span.total_steps:
        raise errors.UserError(
            f"learning_rate.rise is {rise}, so step {top} of {span.total_steps}: the rate must "
            "rise and fall for at least a step each"
        )
    # What `optax.cosine_onecycle_schedule` is made of; the linear one of optax has a third phase.
    turns = {top: rate / start_rate, span.total_steps: final_rate / rate}
    return optax.piecewise_interpolate_schedule(shape, start_rate, turns)


def on_plateau(
    *, rate: float, factor: float, patience: int, threshold: float, min_rate: float, span: Span
) -> tuple[Callable, plateau.Rule]:
    """`rate`, multiplied by `factor` where the validation error stops improving, to `min_rate`.

    `patience` is a number of evaluations, `threshold` a difference of errors (0-1), as `Rule` says.
    """
    check_positive(rate=rate, patience=patience)
    check_not_negative(threshold=threshold)
    if not 0 < factor < 1:
        raise errors.UserError(f"learning_rate.factor {factor} is not between 0 and 1")
    if not 0 <= min_rate <= rate:
        raise errors.UserError(f"learning_rate.min_rate {min_rate} is not in [0, rate = {rate}]")
    return constant(rate=rate, span=span), plateau.Rule(
        factor, patience, threshold, min_scale=min_rate / rate
    )


SCHEDULES = {
    "constant": constant,
    "step": step_drops,
    "exponential": exponential,
    "polynomial": polynomial,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "plateau": on_plateau,
}


def check_positive(**values: float) -> None:
    """Raises `UserError` for the first field that is not positive."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise errors.UserError(f"learning_rate.{name} {value} is not a positive number")


def check_not_negative(**values: float) -> None:
    """Raises `UserError` for the first field that is negative."""
    for name, value in values.items():
        if not 0 <= value < float("inf"):
            raise errors.UserError(f"learning_rate.{name} {value} is not zero or a positive number")
