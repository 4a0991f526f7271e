"""The training step and the evaluation step, and several of them as one program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.training import losses, plateau
from cnn_jax.training.state import TrainState

Array = jax.Array


class Batch(NamedTuple):
    images: Array  # float32 [B, H, W, C], preprocessed
    labels: Array  # int32 [B]
    index: Array  # int32 [B], the number of each example in its split


class ResidentData(flax.struct.PyTreeNode):
    """A whole split on the device."""

    images: Array  # uint8 [N, H, W, C]
    labels: Array  # int32 [N]
    preprocessing: Preprocessing

    def batch(self, index: Array) -> Batch:
        """The examples `index` [B]."""
        return Batch(self.preprocessing(self.images[index]), self.labels[index], index)


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    loss: Callable[..., Array],
    augment: Callable[[Array, Array, Array], Array],
    seed: int,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """Augment, forward, loss, gradient, update; metrics are means over the batch."""

    def train_step(state, batch):
        step_key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), state.step)
        augment_key, dropout_key = jax.random.split(step_key)
        images = augment(augment_key, batch.images, batch.index)

        def objective(params):
            logits, updates = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                images,
                train=True,
                rngs={"dropout": dropout_key},
                mutable=["batch_stats", "aux_logits"],
            )
            auxiliary = jax.tree.leaves(updates.get("aux_logits", {}))
            value = loss(logits, batch.labels, auxiliary).mean()
            return value, (logits, updates.get("batch_stats", {}))

        (value, (logits, batch_stats)), gradients = jax.value_and_grad(objective, has_aux=True)(
            state.params
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        errors = losses.errors(logits, batch.labels)
        metrics = {"loss": value, **{name: e.mean() for name, e in errors.items()}}
        return state, metrics | {"learning_rate_scale": plateau.scale(state.opt_state)}

    return train_step


def make_train_steps(train_step: Callable) -> Callable:
    """K steps as one program: (state, data, indices [K, B]) -> (state, metrics, each [K])."""

    def train_steps(state: TrainState, data: ResidentData, indices: Array):
        return jax.lax.scan(lambda s, index: train_step(s, data.batch(index)), state, indices)

    return train_steps


def make_eval_step(model: nn.Module) -> Callable[[Any, Batch, Array], dict[str, Array]]:
    """(variables, batch, weights [B]) -> sums over the batch, and their count; no smoothing."""
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)

    def eval_step(variables, batch, weights):
        logits = model.apply(variables, batch.images, train=False)
        values = {"loss": loss(logits, batch.labels), **losses.errors(logits, batch.labels)}
        sums = {name: jnp.where(weights > 0, value, 0).sum() for name, value in values.items()}
        return {**sums, "count": weights.sum()}

    return eval_step


def make_eval_steps(eval_step: Callable) -> Callable:
    """A whole split as one program: indices and weights [batches, B] -> sums over all of it."""

    def eval_steps(variables: Any, data: ResidentData, indices: Array, weights: Array):
        def add(sums, xs):
            index, weight = xs
            return jax.tree.map(
                jnp.add, sums, eval_step(variables, data.batch(index), weight)
            ), None

        names = ("loss", "top1_error", "top5_error", "count")
        return jax.lax.scan(add, dict.fromkeys(names, jnp.float32(0)), (indices, weights))[0]

    return eval_steps
