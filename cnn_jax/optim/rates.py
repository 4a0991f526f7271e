"""The papers' schedules, each a function of the step, and what each of them takes."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import optax

from cnn_jax import errors
from cnn_jax.optim import plateau
from cnn_jax.optim.durations import to_steps


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

    def schedule(count):
        # Whole numbers: a compiled division may fall just short of one, and the drop come late.
        return rate * jnp.power(factor, count // period if staircase else count / period)

    return schedule


def polynomial(*, rate: float, final_rate: float, power: float, span: Span) -> Callable:
    """`final_rate` + (`rate` - `final_rate`) (share of the training that is left) ^ `power`.

    Caffe's `poly`; with power 1 the straight line of SqueezeNet's solver.
    """
    check_positive(rate=rate, power=power)
    check_not_negative(final_rate=final_rate)

    def schedule(count):
        left = span.total_steps - jnp.minimum(count, span.total_steps)  # exactly 0 at the end
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
    """From `start_rate` up to `rate`, at the share `rise` of the training, and to `final_rate`.

    Each way is a straight line ("linear", Smith & Topin 2017, arXiv:1708.07120) or half a cosine
    ("cosine", as PyTorch's and fast.ai's).
    """
    check_positive(rate=rate)
    check_not_negative(start_rate=start_rate, final_rate=final_rate)
    if shape not in EASES:
        raise errors.unknown("learning_rate.shape", shape, EASES)
    top = round(rise * span.total_steps)
    if not 0 < top < span.total_steps:
        raise errors.UserError(
            f"learning_rate.rise is {rise}, so step {top} of {span.total_steps}: the rate must "
            "rise and fall for at least a step each"
        )
    ease = EASES[shape]

    def schedule(count):
        risen = ease(jnp.minimum(count / top, 1.0))
        fallen = ease(jnp.clip((count - top) / (span.total_steps - top), 0.0, 1.0))
        rising = (1 - risen) * start_rate + risen * rate
        falling = (1 - fallen) * rate + fallen * final_rate
        return jnp.where(count < top, rising, falling)

    return schedule


EASES = {"linear": lambda share: share, "cosine": lambda share: (1 - jnp.cos(jnp.pi * share)) / 2}


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


SCHEDULES = {
    "constant": constant,
    "step": step_drops,
    "exponential": exponential,
    "polynomial": polynomial,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "plateau": on_plateau,
}
