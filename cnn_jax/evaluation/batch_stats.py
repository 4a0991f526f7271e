"""Batch statistics of the final weights: means over many training batches, not moving averages.

He et al. (2016) release such statistics (the README of KaimingHe/deep-residual-networks): while the
weights stay fixed, the mean and the variance that each batch is normalized with are averaged.
"""

from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax.errors import UserError
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.layers import BatchNorm
from cnn_jax.training import compiler, sharding

Array = jax.Array


def reestimate(
    model: nn.Module,
    variables: dict[str, Any],
    batches: Iterable[tuple[Array, Array]],
    jit: compiler.Jit,
) -> dict[str, Any]:
    """The variables with new batch statistics.

    Args:
      batches: images as the network sees them in training, float32 [B, H, W, C], each with the key
        for dropout.
      jit: compiles the program.

    Raises:
      UserError: the network has no batch norm.
    """
    if not variables.get("batch_stats"):
        raise UserError(
            f"{type(model).__name__} has no batch norm: its statistics cannot be re-estimated"
        )
    empty = jax.tree.map(jnp.zeros_like, variables["batch_stats"])

    def add(total, params, images, key):
        # After an update from zero a running average is (1 - momentum) times the batch's statistic.
        _, updates = model.apply(
            {"params": params, "batch_stats": empty},
            images,
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats", "aux_logits"],
        )
        return jax.tree.map(jnp.add, total, updates["batch_stats"])

    one = sharding.data_mesh(jax.local_devices()[:1])  # where the batches are
    program, total, count, fraction = jit(add, one), empty, 0, None
    for images, key in batches:
        fraction = fraction or 1 - momentum(model, images)
        total = program(total, variables["params"], images, key)
        count += 1
    statistics = jax.tree.map(lambda sums: sums / (count * fraction), total)
    return {"params": variables["params"], "batch_stats": statistics}


def momentum(model: nn.Module, images: Array) -> float:
    """The momentum that all batch norms of the network have."""
    found = set()

    def note(call, arguments, keywords, context):
        if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
            found.add(context.module.momentum)
        return call(*arguments, **keywords)

    with nn.intercept_methods(note):
        eval_shape(model.init, jax.random.key(0), images[:1])
    (only,) = found
    return only
