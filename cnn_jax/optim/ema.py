"""Exponential moving averages of parameters and batch statistics, for evaluation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cnn_jax.errors import UserError


def create(*, decay: float, ramp: bool) -> Callable[[Any, Any, jax.Array], Any]:
    """Returns `update(ema, variables, step) -> ema`, decay * ema + (1 - decay) * variables.

    Args:
      decay: 0 keeps no average; Inception-v3's released recipe has 0.9999.
      ramp: the decay is min(decay, (1 + step) / (10 + step)), as TensorFlow's `num_updates` does,
        so that the first steps are soon forgotten; `step` counts the updates before this one.
    """
    if not 0 <= decay < 1:
        raise UserError(f"ema.decay {decay} is not in [0, 1)")

    def update(ema: Any, variables: Any, step: jax.Array) -> Any:
        rate = 1 - (jnp.minimum(decay, (1 + step) / (10 + step)) if ramp else decay)
        return jax.tree.map(lambda old, new: old + rate * (new - old), ema, variables)

    return update
