"""Evaluation of a split that lies on the devices: all of it is one program."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from cnn_jax.cluster import processes
from cnn_jax.data.batches import evaluation_batches
from cnn_jax.data.dataset import Split
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.training import compiler, sharding, steps


def make_evaluate(
    model: nn.Module,
    split: Split,
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    precise: Callable[[Callable], Callable],
    mesh: Mesh,
) -> Callable[[Any], dict[str, float]]:
    """`evaluate(variables)`: mean loss, top-1 and top-5 error (0-1) of the single central view."""
    resident = steps.InMemoryData(*split, preprocessing)
    whole = sharding.replicated(mesh)
    resident = processes.put_global(resident, whole)
    batches = evaluation_batches(len(split.labels), sharding.rounded_up(batch_size, mesh))
    indices, weights = processes.put_global(batches, sharding.by_batch(mesh))
    eval_steps = steps.make_eval_steps(steps.make_eval_step(model))

    def gathered(variables, *data):
        return eval_steps(jax.lax.with_sharding_constraint(variables, whole), *data)

    program = compiler.jit(precise(gathered))

    def evaluate(variables):
        sums = {k: float(v) for k, v in program(variables, resident, indices, weights).items()}
        count = sums.pop("count")
        assert count == len(split.labels), f"counted {count} of {len(split.labels)} examples"
        return {name: float(np.float64(value) / count) for name, value in sums.items()}

    return evaluate
