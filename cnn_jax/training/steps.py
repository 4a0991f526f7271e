"""The training step and the evaluation step, and several of them as one program."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.data.stream import reader
from cnn_jax.optim import plateau
from cnn_jax.training import losses
from cnn_jax.training.state import TrainState

Array = jax.Array

SUMS = ("loss", "top1_error", "top5_error", "count")  # of an evaluation step


class Batch(NamedTuple):
    images: Array  # float32 [B, H, W, C], preprocessed
    labels: Array  # int32 [B]
    index: Array  # int32 [B], the number of each example in its split


ColorJitter = Callable[[Array, Array], Array]  # (images of values 0-255, index [B]) -> images


class InMemoryData(flax.struct.PyTreeNode):
    """A whole split on the device; a step is told which examples it takes."""

    images: Array  # uint8 [N, H, W, C]
    labels: Array  # int32 [N]
    preprocessing: Preprocessing

    def batch(self, index: Array, color_jitter: ColorJitter = lambda images, _: images) -> Batch:
        """The examples `index` [B]."""
        images = color_jitter(self.images[index], index)
        return Batch(self.preprocessing(images), self.labels[index], index)

    def counts(self, index: Array) -> dict[str, Array]:
        """What the metrics of a step say of its data."""
        del index
        return {}


class StreamedData(flax.struct.PyTreeNode):
    """Of data that does not fit on the device what stays there; a step is given its examples."""

    preprocessing: Preprocessing

    def batch(
        self, stored: reader.Batch, color_jitter: ColorJitter = lambda images, _: images
    ) -> Batch:
        """Images as they were stored, uint8 [B, H, W, C], for the network."""
        images = color_jitter(stored.images, stored.index)
        return Batch(self.preprocessing(images), stored.labels, stored.index)

    def counts(self, stored: reader.Batch) -> dict[str, Array]:
        """How many images could not be decoded."""
        return {"skipped": stored.bad.sum()}


def step_keys(state: TrainState) -> tuple[Array, Array]:
    """Of a step, the keys of what changes its images, and of dropout."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(state.seed), 1), state.step)
    return tuple(jax.random.split(key))


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    loss: Callable[..., Array],
    augment: Callable[[Array, Array, Array], Array],
    *,
    average: Callable[[Any, Any, Array], Any] | None = None,
    parts: int = 1,
    gather: Callable[[Any], Any] = lambda params: params,
    measure: Callable[[Any], dict[str, Array]] = lambda params: {},
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """Augment, forward, loss, gradient, update, average; metrics are means over the batch.

    Args:
      average: `(ema, variables, step) -> ema`, None where the state has no averages.
      parts: see `accumulated`.
      gather: brings sharded parameters together for the forward pass.
      measure: more metrics, of the parameters after the update.
    """
    gradient_of = make_gradient(model, loss, gather)
    if parts > 1:
        gradient_of = accumulated(gradient_of, parts)

    def train_step(state: TrainState, batch: Batch):
        augment_key, dropout_key = step_keys(state)
        batch = batch._replace(images=augment(augment_key, batch.images, batch.index))
        gradient, batch_stats, metrics = gradient_of(state, batch, dropout_key)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if average:
            ema = average(ema, {"params": params, "batch_stats": batch_stats}, state.step)
        state = TrainState(state.seed, state.step + 1, params, batch_stats, opt_state, ema)
        metrics |= measure(params)
        return state, metrics | {"learning_rate_scale": plateau.scale(opt_state)}

    return train_step


# (state, batch, key of dropout) -> the gradient, the new batch statistics, and metrics.
Gradient = Callable[[TrainState, Batch, Array], tuple[Any, Any, dict[str, Array]]]


def make_gradient(
    model: nn.Module, loss: Callable[..., Array], gather: Callable[[Any], Any]
) -> Gradient:
    """The gradient of the mean loss over a batch."""

    def gradient_of(state, batch, dropout_key):
        def objective(params):
            logits, updates = model.apply(
                {"params": gather(params), "batch_stats": state.batch_stats},
                batch.images,
                train=True,
                rngs={"dropout": dropout_key},
                mutable=["batch_stats", "aux_logits"],
            )
            auxiliary = jax.tree.leaves(updates.get("aux_logits", {}))
            value = loss(logits, batch.labels, auxiliary).mean()
            errors = losses.errors(logits, batch.labels)
            metrics = {"loss": value, **{name: error.mean() for name, error in errors.items()}}
            return value, (updates.get("batch_stats", {}), metrics)

        gradient, aside = jax.grad(objective, has_aux=True)(state.params)
        return gradient, *aside

    return gradient_of


def accumulated(gradient_of: Gradient, parts: int) -> Gradient:
    """The mean of the gradients of so many parts of a batch, taken one after the other.

    Caffe's `iter_size`: less memory, and batch norm sees the examples of a part only.
    """

    def mean_gradient(state, batch, dropout_key):
        # Part j has the examples j, j + parts, ...: each device finds its share of it at home.
        split = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)

        def add(carry, part):
            total, batch_stats = carry
            gradient, batch_stats, metrics = gradient_of(
                state.replace(batch_stats=batch_stats), *part
            )
            return (jax.tree.map(jnp.add, total, gradient), batch_stats), metrics

        start = (jax.tree.map(jnp.zeros_like, state.params), state.batch_stats)
        keys = jax.random.split(dropout_key, parts)
        (total, batch_stats), metrics = jax.lax.scan(add, start, (split, keys))
        mean = jax.tree.map(lambda value: value.mean(0), metrics)
        return jax.tree.map(lambda g: g / parts, total), batch_stats, mean

    return mean_gradient


def make_train_steps(
    train_step: Callable, color_jitter: Callable[[Array, Array, Array], Array]
) -> Callable:
    """K steps as one program: (state, data, examples) -> (state, metrics, each [K]).

    The examples are indices [K, B] into the resident data, or batches [K, B, ...] of a stream;
    `color_jitter(key, images, index)` acts before the preprocessing.
    """

    def train_steps(state: TrainState, data: InMemoryData | StreamedData, examples: Any):
        def one(state, taken):
            key, _ = step_keys(state)
            batch = data.batch(taken, functools.partial(color_jitter, key))
            state, metrics = train_step(state, batch)
            return state, metrics | data.counts(taken)

        return jax.lax.scan(one, state, examples)

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

    def eval_steps(variables: Any, data: InMemoryData, indices: Array, weights: Array):
        def add(sums, xs):
            index, weight = xs
            return jax.tree.map(
                jnp.add, sums, eval_step(variables, data.batch(index), weight)
            ), None

        zero = dict.fromkeys(SUMS, jnp.float32(0))
        return jax.lax.scan(add, zero, (indices, weights))[0]

    return eval_steps
