"""Finds the layer in which the first number of a run arises that is not finite.

Each program keeps the state before it. Where its end is not finite, its steps are taken one by one,
and of the step at fault every layer runs alone: what its first output is that is not finite, or
else its gradient, or its update.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax.errors import DIVERGED, UserError
from cnn_jax.optim import by_layer
from cnn_jax.training.build import Setup
from cnn_jax.training.steps import Batch, TrainState, is_finite, make_gradient, step_keys


def searching(setup: Setup) -> Callable:
    """A `run_steps` that raises `UserError`, exit code 3, with the layer; it waits for programs."""
    if len(setup.seeds.numbers) > 1 or jax.process_count() > 1:
        raise UserError("--debug_nans is for one seed in one process", 2)

    def run_steps(state, first, count):
        before = jax.tree.map(jnp.copy, state)  # the program takes the memory of its state
        data, examples = setup.inputs.take(first, count, state)
        after, values = setup.programs(first).train_steps(state, data, examples)
        if is_good(after, values):
            return after, values
        with jax.transfer_guard("allow"):
            raise UserError(search(setup, before, data, examples), DIVERGED)

    return run_steps


def is_good(state: TrainState, metrics: dict[str, Any]) -> bool:
    """Whether the loop would go on."""
    return bool(jax.device_get(is_finite((state.params, state.batch_stats, metrics["loss"]))))


def search(setup: Setup, state: TrainState, data: Any, examples: Any) -> str:
    """A line that says where the steps [K] from a good state on cease to be finite."""
    for i in range(len(jax.tree.leaves(examples)[0])):
        taken = jax.tree.map(lambda x, i=i: x[i : i + 1], examples)
        before = jax.tree.map(jnp.copy, state)
        state, values = setup.programs(int(state.step)).train_steps(state, data, taken)
        if not is_good(state, values):
            batch = augmented(setup, before, data, jax.tree.map(lambda x: x[0], taken))
            places = causes(setup, before, batch, state)
            place = next(places, "no layer that runs alone, only in the compiled program")
            return f"step {int(before.step) + 1:,} is not finite; it begins in {place}"
    return "a program is not finite, but its steps are, one by one"


def augmented(setup: Setup, state: TrainState, data: Any, taken: Any) -> Batch:
    """The batch that the network sees in a step."""
    key, _ = step_keys(state)
    batch = data.batch(taken, partial(setup.parts.color_jitter, key))
    return batch._replace(images=setup.parts.augment(key, batch.images, batch.index))


def causes(setup: Setup, before: TrainState, batch: Batch, after: TrainState) -> Iterator[str]:
    """What is not finite, in the order in which a step computes it."""
    yield from (f"the parameter {name}, before the step" for name in bad_leaves(before.params))
    if not is_finite(batch.images):
        yield "the images, after preprocessing and augmentation"
    model = network(setup, int(before.step))
    gradient_of = make_gradient(model, setup.parts.loss, lambda params: params)
    gradient_of, count = setup.parts.jit.with_precision(gradient_of), setup.plan.microbatches
    for j, key in enumerate(dropout_keys(before, count)):
        part = jax.tree.map(lambda x, j=j: x[j::count], batch)
        layers, bad = forward(model, before, part, key)
        if bad:
            yield f"the output of {bad}{largest(before.params, bad)}"
        gradient, _, metrics = jax.jit(gradient_of)(before, part, key)
        if not is_finite(metrics["loss"]):
            yield "the loss, of logits that are finite"
        # Back from the loss, all layers before the one at fault have bad gradients, too.
        names = bad_leaves(by_layer.without(gradient, getattr(model, "frozen", frozenset())))
        last = max(names, key=lambda name: layers.index(name.rpartition("/")[0]), default=None)
        if last:
            yield f"the gradient of {last}, on the way back from the loss"
    yield from (f"the update of {name}" for name in bad_leaves(after.params))


def network(setup: Setup, step: int) -> Any:
    """The network that is trained in a step: where layers are frozen, a `FrozenNorms`."""
    phases = setup.parts.phases or [(setup.parts.model, None)]
    return without_remat(phases[0 if step < setup.plan.unfreeze else -1][0])


def without_remat(model: Any) -> Any:
    """The same network, whose layers are computed once."""
    if isinstance(model, by_layer.FrozenNorms):
        return model._replace(model=without_remat(model.model))
    return model.clone(remat=False) if hasattr(model, "remat") else model


def dropout_keys(state: TrainState, microbatches: int) -> list[jax.Array]:
    """The key of each microbatch, as `steps.accumulated` draws them."""
    _, key = step_keys(state)
    return [key] if microbatches == 1 else list(jax.random.split(key, microbatches))


def forward(
    model: Any, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[list[str], str | None]:
    """The layers of a `network` in their order, and the first with an output that is not finite."""
    layers, bad = [], []

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        arrays = [a for a in jax.tree.leaves(output) if isinstance(a, jax.Array)]
        # Flax traces what `nn.scan` repeats once before it runs it.
        if context.method_name == "__call__" and not any(map(is_traced, arrays)):
            layers.append("/".join(context.module.path))
            if arrays and not is_finite(arrays):
                repeated = layers.count(layers[-1])
                name = layers[-1] or "the network, after its last layer"
                bad.append(name + (f", time {repeated}" if repeated > 1 else ""))
        return output

    # Layers run one by one, those that `nn.scan` repeats as well.
    with jax.disable_jit(), nn.intercept_methods(note):
        model.apply(
            state.variables,
            batch.images,
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats", "aux_logits"],
        )
    return layers, next(iter(bad), None)


def is_traced(array: Any) -> bool:
    """Whether the array has no values yet."""
    return isinstance(array, jax.core.Tracer)


def bad_leaves(tree: Any) -> list[str]:
    """The names of the arrays with a number that is not finite: `stage1/block1/conv1/kernel`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return [name for name, (_, leaf) in zip(names, leaves, strict=True) if not is_finite(leaf)]


def largest(params: Any, layer: str) -> str:
    """How large the parameters of a layer are; nothing of one that has none."""
    for name in layer.split(",")[0].split("/"):
        params = params.get(name, {})
    sizes = [float(np.abs(np.asarray(leaf)).max()) for leaf in jax.tree.leaves(params)]
    return f", whose parameters reach {max(sizes):.3g}" if sizes else ""
