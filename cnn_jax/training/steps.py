"""The state of training, the training step and the evaluation step: all pure functions."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from cnn_jax.optim import losses, optimizers, plateau
from cnn_jax.optim.schedules import LearningRate

Array = jax.Array
Metrics = dict[str, Array]

SUMS = ("loss", "top1_error", "top5_error", "count")  # of an evaluation step


class TrainState(flax.struct.PyTreeNode):
    """All that changes while training: arrays only, so `scan` and `vmap` take it as it is."""

    seed: Array  # uint32, never changes: with it a step is a function of the state alone
    step: Array  # int32, updates made so far
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
    seed: int | Array,
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


class Batch(NamedTuple):
    images: Array  # float32 [B, H, W, C], preprocessed
    labels: Array  # int32 [B]
    index: Array  # int32 [B], the number of each example in its split


class DeviceData(Protocol):
    """What lies on the devices, and makes batches of the examples that a step is given."""

    def batch(self, examples: Any, color_jitter: Callable[[Array, Array], Array]) -> Batch:
        """The batch; `color_jitter(images 0-255, index)` acts before the preprocessing."""

    def counts(self, examples: Any) -> Metrics:
        """More metrics of the step, about its examples."""


def step_keys(state: TrainState) -> tuple[Array, Array]:
    """The keys of a step: one for augmentation, one for dropout."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(state.seed), 1), state.step)
    return tuple(jax.random.split(key))


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    learning_rate: LearningRate,
    loss: Callable[..., Array],
    augment: Callable[[Array, Array, Array], Array],
    *,
    average: Callable[[Any, Any, Array], Any] | None = None,
    microbatches: int = 1,
    gather: Callable[[Any], Any] = lambda params: params,
    measure: Callable[[Any], Metrics] = lambda params: {},
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Augment, forward, loss, gradient, update, average; metrics are means over the batch.

    Args:
      learning_rate: that of `optimizer`, for the metrics.
      average: `(ema, variables, step) -> ema`, None where the state has no averages.
      microbatches: see `accumulated`.
      gather: brings sharded parameters together for the forward pass.
      measure: more metrics, of the parameters after the update.
    """
    gradient_of = make_gradient(model, loss, gather)
    if microbatches > 1:
        gradient_of = accumulated(gradient_of, microbatches)

    def train_step(state: TrainState, batch: Batch):
        augment_key, dropout_key = step_keys(state)
        with jax.named_scope("augment"):  # names in a trace, beside those of the layers
            batch = batch._replace(images=augment(augment_key, batch.images, batch.index))
        gradient, batch_stats, metrics = gradient_of(state, batch, dropout_key)
        with jax.named_scope("update"):
            updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
            params = optimizers.apply_updates(state.params, updates)
        ema = state.ema
        if average:
            ema = average(ema, {"params": params, "batch_stats": batch_stats}, state.step)
        rate = learning_rate(state.step)
        if learning_rate.plateau:
            rate = rate * plateau.scale(state.opt_state)
        metrics |= {"learning_rate": jnp.float32(rate), **measure(params)}
        return TrainState(state.seed, state.step + 1, params, batch_stats, opt_state, ema), metrics

    return train_step


# (state, batch, key of dropout) -> the gradient, the new batch statistics, and metrics.
Gradient = Callable[[TrainState, Batch, Array], tuple[Any, Any, Metrics]]


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
                mutable={"batch_stats", "aux_logits"},
            )
            auxiliary = jax.tree.leaves(updates.get("aux_logits", {}))
            value = loss(logits, batch.labels, auxiliary).mean()
            errors = losses.errors(logits, batch.labels)
            metrics = {"loss": value, **{name: error.mean() for name, error in errors.items()}}
            return value, (updates.get("batch_stats", {}), metrics)

        gradient, aside = jax.grad(objective, has_aux=True)(state.params)
        return gradient, *aside

    return gradient_of


def accumulated(gradient_of: Gradient, microbatches: int) -> Gradient:
    """The mean of the gradients of so many parts of a batch, taken one after the other.

    Caffe's `iter_size`: less memory, and batch norm sees the examples of a microbatch only.
    """

    def mean_gradient(state, batch, dropout_key):
        # Microbatch j has the examples j, j + microbatches, ...: those of a device stay there.
        split = jax.tree.map(
            lambda x: x.reshape(-1, microbatches, *x.shape[1:]).swapaxes(0, 1), batch
        )

        def add(carry, microbatch):
            total, batch_stats = carry
            gradient, batch_stats, metrics = gradient_of(
                state.replace(batch_stats=batch_stats), *microbatch
            )
            return (jax.tree.map(jnp.add, total, gradient), batch_stats), metrics

        start = (jax.tree.map(jnp.zeros_like, state.params), state.batch_stats)
        keys = jax.random.split(dropout_key, microbatches)
        (total, batch_stats), metrics = jax.lax.scan(add, start, (split, keys))
        mean = jax.tree.map(lambda value: value.mean(0), metrics)
        return jax.tree.map(lambda g: g / microbatches, total), batch_stats, mean

    return mean_gradient


def scan_steps(
    train_step: Callable, color_jitter: Callable[[Array, Array, Array], Array]
) -> Callable:
    """K steps as one program: (state, data, examples) -> (state, metrics, each [K]).

    The examples, each [K, B, ...], are what `data` (`DeviceData`) makes batches of;
    `color_jitter(key, images, index)` acts before the preprocessing.
    """

    def train_steps(state: TrainState, data: DeviceData, examples: Any):
        def one(state, taken):
            key, _ = step_keys(state)
            with jax.named_scope("data"):
                batch = data.batch(taken, functools.partial(color_jitter, key))
            state, metrics = train_step(state, batch)
            return state, metrics | data.counts(taken)

        return jax.lax.scan(one, state, examples)

    return train_steps


def make_eval_step(model: nn.Module) -> Callable[[Any, Batch, Array], Metrics]:
    """(variables, batch, weights [B]) -> sums over the batch, and their count; no smoothing."""
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)

    def eval_step(variables, batch, weights):
        logits = model.apply(variables, batch.images, train=False)
        values = {"loss": loss(logits, batch.labels), **losses.errors(logits, batch.labels)}
        sums = {name: jnp.where(weights > 0, value, 0).sum() for name, value in values.items()}
        return {**sums, "count": weights.sum()}

    return eval_step


@jax.jit
def is_finite(tree: Any) -> Array:
    """Whether all numbers of all arrays are, bool []."""
    return jnp.all(jnp.stack([jnp.isfinite(a).all() for a in jax.tree.leaves(tree)]))
