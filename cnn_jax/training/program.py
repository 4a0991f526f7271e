"""From a config to what the loop needs: data on the device, the network, compiled steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data, errors, models
from cnn_jax.data import augment, preprocess
from cnn_jax.data.batches import batch_indices
from cnn_jax.training import (
    compiler,
    evaluate,
    losses,
    optimizers,
    parallel,
    processes,
    schedules,
    state,
    steps,
)
from cnn_jax.training.plan import Plan

Metrics = dict[str, jax.Array]


@dataclass(frozen=True)
class Program:
    """What `build` made of a config."""

    model: nn.Module
    dataset_facts: dict[str, Any]
    preprocessing: preprocess.Preprocessing
    plan: Plan
    learning_rate: Callable[[int], Any]
    create_state: Callable[[], state.TrainState]
    state_template: state.TrainState  # of jax.ShapeDtypeStruct, with shardings
    run_steps: Callable[[state.TrainState, int, int], tuple[state.TrainState, Metrics]]
    evaluate: dict[str, Callable[[Any], dict[str, float]]]  # by split
    is_finite: Callable[[Any], jax.Array]


def build(config: ConfigDict) -> Program:
    """Reads the data, makes the network and the programs; nothing is trained yet.

    Raises:
      UserError: anything in the config that cannot be.
    """
    if config.seed < 0:
        raise errors.UserError(f"seed {config.seed} is negative")
    dataset = configs.call(data.load, "data", config.data)
    train = dataset.splits["train"]
    for split in config.evaluation.splits:
        if split not in set(dataset.splits) - {"train"}:
            held_out = [name for name in dataset.splits if name != "train"]
            raise errors.unknown("split in evaluation.splits", split, held_out)
    plan = Plan.create(config, len(train.labels))
    model = configs.call(models.create, "model", config.model, num_classes=len(dataset.class_names))
    preprocessing = configs.call(preprocess.fit, "preprocessing", config.preprocessing, train=train)
    learning_rate = configs.call(
        schedules.create,
        "learning_rate",
        config.learning_rate,
        duration=config.training.duration,
        steps_per_epoch=plan.steps_per_epoch,
    )
    optimizer = configs.call(
        optimizers.create, "optimizer", config.optimizer, learning_rate=learning_rate
    )
    train_step = steps.make_train_step(
        model,
        optimizer,
        loss=configs.call(losses.create, "loss", config.loss),
        augment=configs.call(augment.create, "augmentation", config.augmentation),
        seed=config.seed,
    )

    mesh = parallel.data_mesh()
    parallel.check_batch(plan.batch_size, mesh)
    whole, by_batch = parallel.replicated(mesh), parallel.by_batch(mesh)
    resident = processes.place(steps.ResidentData(*train, preprocessing), whole)
    train_steps = compiler.jit(steps.make_train_steps(train_step), donate_argnums=0)

    def run_steps(train_state, first_step, count):
        indices = batch_indices(config.seed, first_step, count, plan.batch_size, len(train.labels))
        return train_steps(train_state, resident, processes.place(indices, by_batch))

    def create_state():
        return state.create_state(model, optimizer, dataset.image_shape, config.seed)

    return Program(
        model=model,
        dataset_facts=dataset.facts(),
        preprocessing=preprocessing,
        plan=plan,
        learning_rate=learning_rate,
        create_state=compiler.jit(create_state, once=True, out_shardings=whole),
        state_template=jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole),
            jax.eval_shape(create_state),
        ),
        run_steps=run_steps,
        evaluate={
            split: evaluate.make_evaluate(
                model, dataset.splits[split], preprocessing, config.evaluation.batch_size
            )
            for split in {*config.evaluation.splits, "test"}
        },
        is_finite=jax.jit(
            lambda tree: jnp.all(jnp.stack([jnp.isfinite(a).all() for a in jax.tree.leaves(tree)]))
        ),
    )
