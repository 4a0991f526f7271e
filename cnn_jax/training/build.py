"""From a config to what the loop needs: data on the device, the network, compiled steps."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data, errors, models
from cnn_jax.data import augment, color
from cnn_jax.optim import ema, optimizers, schedules
from cnn_jax.training import compress, losses, precision, sharding, state, steps
from cnn_jax.training import seeds as seed_programs
from cnn_jax.training.inputs import InMemoryInputs, StreamedInputs, create_inputs
from cnn_jax.training.plan import Plan
from cnn_jax.training.state import TrainState

Metrics = dict[str, jax.Array]


@dataclass(frozen=True)
class Program:
    """What `build` made of a config; the state is that of one seed, or of several stacked."""

    model: nn.Module
    plan: Plan
    learning_rate: schedules.LearningRate
    weights: str  # those that are evaluated, "raw" or "ema"
    train_step: Callable  # (state, batch) -> (state, metrics), of one seed, not compiled
    train_steps: Callable  # (state, inputs.data, examples) -> (state, metrics), compiled
    inputs: InMemoryInputs | StreamedInputs
    create_state: Callable[[], TrainState]
    state_template: TrainState  # of one seed: jax.ShapeDtypeStruct with shardings
    split: Callable[[Any], list[Any]]  # a state, or metrics, by seed
    join: Callable[[list[TrainState]], TrainState]  # and a state again
    evaluate: dict[str, Callable[[Any], dict[str, float]]]  # by split, of one seed's variables

    def run_steps(self, state: TrainState, first: int, count: int) -> tuple[TrainState, Metrics]:
        """Takes `count` steps from the step `first` on; metrics are [count] each."""
        examples = self.inputs.take(first, count, state)
        return self.train_steps(state, self.inputs.data, examples)


def build(
    config: ConfigDict,
    dataset: data.Dataset | None = None,
    devices: Sequence[jax.Device] | None = None,
    seeds: Sequence[int] | None = None,
) -> Program:
    """Reads the data, makes the network and the programs; nothing is trained yet.

    Args:
      dataset: takes the place of the data that `config.data` names.
      devices: those to train on, by default all there are.
      seeds: trains a network for each of them, instead of one for `config.seed`.

    Raises:
      UserError: anything in the config that cannot be.
    """
    if config.seed < 0:
        raise errors.UserError(f"seed {config.seed} is negative")
    mesh = sharding.data_mesh(devices)
    inputs = create_inputs(config, dataset, mesh)
    check_evaluation(config, inputs.splits)
    plan = Plan.create(config, inputs.train_size)
    sharding.check_batch(plan.batch_size, plan.parts, mesh)
    classes = len(inputs.class_names)
    model = configs.call(models.create, "model", config.model, num_classes=classes)
    learning_rate, optimizer = make_optimizer(config, plan)
    stage = make_stage(config, plan, optimizer)
    precise = configs.call(precision.create, "precision", config.precision)
    make_step = functools.partial(make_train_step, config, plan, model, stage.optimizer)
    color_jitter = configs.call(color.create, "color", config.color)
    members = configs.call(
        seed_programs.place,
        "parallel",
        config.parallel,
        create_state=functools.partial(
            state.create_state, model, stage.optimizer, inputs.image_shape, config.ema.decay > 0
        ),
        make_train_steps=lambda gather: precise(
            steps.make_train_steps(make_step(gather), color_jitter)
        ),
        mesh=mesh,
        seed=config.seed,
        several=seeds,
    )
    inputs.connect(plan, members)
    evaluated = {*config.evaluation.splits, *{"test"}.intersection(inputs.splits)}
    return Program(
        model=model,
        plan=plan,
        learning_rate=learning_rate,
        weights=config.evaluation.weights,
        train_step=precise(make_step(lambda params: params)),
        train_steps=members.train_steps,
        inputs=inputs,
        create_state=functools.partial(first_state, members, stage),
        state_template=members.template,
        split=members.split,
        join=members.join,
        evaluate={split: inputs.evaluate(split, model, precise) for split in evaluated},
    )


def make_stage(
    config: ConfigDict, plan: Plan, optimizer: optax.GradientTransformation
) -> compress.Stage:
    """The optimizer, and with the group `compression` what that adds to it."""
    if "compression" not in config:
        return compress.Stage(optimizer, begin=None)
    return configs.call(
        compress.create,
        "compression",
        config.compression,
        optimizer=optimizer,
        steps_per_epoch=plan.steps_per_epoch,
    )


def first_state(members: seed_programs.Members, stage: compress.Stage) -> TrainState:
    """The state that training begins with."""
    random = members.create_state()
    if stage.begin is None:
        return random
    return members.join([stage.begin(own) for own in members.split(random)])


@jax.jit
def is_finite(tree: Any) -> jax.Array:
    """Whether all numbers of all arrays are, bool []."""
    return jnp.all(jnp.stack([jnp.isfinite(a).all() for a in jax.tree.leaves(tree)]))


def check_evaluation(config: ConfigDict, splits: Sequence[str]) -> None:
    """Raises `UserError` where the group `evaluation` asks for what there is not."""
    for split in config.evaluation.splits:
        if split not in splits:
            raise errors.unknown("split in evaluation.splits", split, splits)
    if config.evaluation.weights not in ("raw", "ema"):
        raise errors.unknown("evaluation.weights", config.evaluation.weights, ("raw", "ema"))
    if config.evaluation.weights == "ema" and not config.ema.decay:
        raise errors.UserError("evaluation.weights is 'ema', but ema.decay is 0: none are kept")


def make_optimizer(
    config: ConfigDict, plan: Plan
) -> tuple[optax.Schedule, optax.GradientTransformation]:
    """The learning rate by the step, and the update rule with it."""
    learning_rate = configs.call(
        schedules.create,
        "learning_rate",
        config.learning_rate,
        duration=config.training.duration,
        steps_per_epoch=plan.steps_per_epoch,
    )
    if learning_rate.plateau and "validation" not in plan.splits:
        raise errors.UserError(
            "learning_rate.schedule 'plateau' follows the validation error: add 'validation' to "
            "evaluation.splits (and set data.validation_size where the data has no such split)"
        )
    optimizer = configs.call(
        optimizers.create, "optimizer", config.optimizer, learning_rate=learning_rate
    )
    return learning_rate, optimizer


def make_train_step(
    config: ConfigDict,
    plan: Plan,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    gather: Callable[[Any], Any],
) -> Callable:
    """The training step that the groups of the config describe."""
    return steps.make_train_step(
        model,
        optimizer,
        loss=configs.call(losses.create, "loss", config.loss),
        augment=configs.call(augment.create, "augmentation", config.augmentation),
        average=configs.call(ema.create, "ema", config.ema) if config.ema.decay else None,
        parts=plan.parts,
        gather=gather,
        measure=compress.measure if "compression" in config else lambda params: {},
    )
