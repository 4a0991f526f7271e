"""All that changes while training."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax


class TrainState(flax.struct.PyTreeNode):
    """Arrays only, so a checkpoint is data and `scan` and `vmap` take it as it is."""

    seed: jax.Array  # uint32, never changes: with it a step is a function of the state alone
    step: jax.Array  # int32, updates made so far
    params: Any
    batch_stats: Any  # {} for a network without batch norm
    opt_state: Any
    ema: Any  # averages of {"params", "batch_stats"}; {} where none are kept

    @property
    def variables(self) -> dict[str, Any]:
        """What `model.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    def weights(self, which: str) -> dict[str, Any]:
        """The variables themselves ("raw"), or their averages ("ema")."""
        return {"raw": self.variables, "ema": self.ema}[which]


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, int, int],
    keep_average: bool,
    seed: int | jax.Array,
) -> TrainState:
    """The state before the first step; the initial values are a function of the seed."""
    images = jnp.zeros((1, *image_shape), jnp.float32)
    variables = model.init(jax.random.fold_in(jax.random.key(seed), 0), images, train=False)
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return TrainState(
        seed=jnp.asarray(seed, jnp.uint32),
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        ema={"params": params, "batch_stats": batch_stats} if keep_average else {},
    )
