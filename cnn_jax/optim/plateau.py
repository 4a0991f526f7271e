"""A learning rate that drops when the validation error stops improving.

Krizhevsky et al. (2012), section 5, lowered it so by hand, and He et al. (2016), section 3.4, on
ImageNet. The rule keeps what it has seen as arrays inside the optimizer's state, so that
checkpoints save it and `vmap` maps over it.
"""

from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

Array = jax.Array


@dataclass(frozen=True)
class Rule:
    """When the rate drops, and how far.

    At the `patience`-th evaluation in a row whose error (0-1) is not below the best one by more
    than `threshold`, the scale of the rate is multiplied by `factor`, down to `min_scale`.
    """

    factor: float
    patience: int
    threshold: float
    min_scale: float


class PlateauState(flax.struct.PyTreeNode):
    """What the rule has seen: scalars, or [N] of N networks trained together."""

    scale: Array  # float32, of the learning rate
    best: Array  # float32, the lowest error so far
    waited: Array  # int32, evaluations since then or since the last drop
    rule: Rule = flax.struct.field(pytree_node=False)


def scale_by_plateau(rule: Rule) -> optax.GradientTransformation:
    """Multiplies updates by the scale that `observe` sets."""

    def init(params):
        del params
        return PlateauState(jnp.float32(1), jnp.float32(jnp.inf), jnp.int32(0), rule)

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda u: state.scale * u, updates), state

    return optax.GradientTransformation(init, update)


def observe(opt_state: Any, error: Array | float) -> Any:
    """The optimizer's state after an evaluation; without a plateau in it, the same state."""
    return jax.tree.map(
        lambda node: after(node, jnp.float32(error)) if is_plateau(node) else node,
        opt_state,
        is_leaf=is_plateau,
    )


def scale(opt_state: Any) -> Array:
    """By what the rate of the schedule is multiplied; 1 without a plateau."""
    nodes = filter(is_plateau, jax.tree.leaves(opt_state, is_leaf=is_plateau))
    return next((node.scale for node in nodes), jnp.float32(1))


def is_plateau(node: Any) -> bool:
    """Whether a node of the optimizer's state is that of `scale_by_plateau`."""
    return isinstance(node, PlateauState)


@jax.jit
def after(state: PlateauState, error: Array) -> PlateauState:
    """The state after one more error."""
    rule = state.rule
    better = error < state.best - rule.threshold
    waited = jnp.where(better, 0, state.waited + 1)
    drops = waited >= rule.patience
    lower = jnp.maximum(state.scale * rule.factor, rule.min_scale)
    return state.replace(
        scale=jnp.where(drops, lower, state.scale),
        best=jnp.where(better, error, state.best),
        waited=jnp.where(drops, 0, waited),
    )
