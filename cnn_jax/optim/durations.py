"""Lengths in the unit of the paper: "64000 steps", "200 epochs"."""

import re

from cnn_jax.errors import UserError


def parse(duration: str) -> tuple[float, str]:
    """Number and unit, "step" or "epoch", of "64000 steps", "0.5 epochs" or "1 epoch"."""
    match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(step|epoch)s?\s*", duration)
    if not match:
        raise UserError(
            f"cannot read the duration {duration!r}: write '64000 steps' or '10 epochs'"
        )
    return float(match[1]), match[2]


def to_steps(duration: str, steps_per_epoch: int) -> int:
    """The number of steps in a duration."""
    number, unit = parse(duration)
    return round(number * (steps_per_epoch if unit == "epoch" else 1))
