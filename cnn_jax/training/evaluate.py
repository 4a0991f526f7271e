"""Errors over a whole split, every example counted once."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from cnn_jax import config as configs
from cnn_jax import data, errors
from cnn_jax.data.batches import evaluation_batches
from cnn_jax.data.dataset import Split
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.runs import Run
from cnn_jax.training import compiler, parallel, precision, processes, steps, streams


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
    resident = steps.ResidentData(*split, preprocessing)
    whole = parallel.replicated(mesh)
    resident = processes.place(resident, whole)
    batches = evaluation_batches(len(split.labels), parallel.rounded_up(batch_size, mesh))
    indices, weights = processes.place(batches, parallel.by_batch(mesh))
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


def evaluate_run(run: Run, step: int, split: str, path: str | None) -> dict[str, float]:
    """Evaluates a checkpoint of a run; `path` is where the data is now, None where it was."""
    config = run.config.copy_and_resolve_references()
    if "data" not in config:
        raise errors.UserError(f"{run.path} was made from weights alone and names no data set")
    if path is not None:
        config.data.path = path
    try:
        dataset = configs.call(data.open, "data", config.data)
    except errors.UserError as error:
        raise errors.UserError(str(error).replace("--config.data.path=", "--data=")) from None
    if split not in dataset.splits:
        raise errors.unknown(f"split of {config.data.name}", split, dataset.splits)
    streamed = isinstance(dataset, data.StreamedDataset)
    if streamed:
        view = config.view.evaluation.to_dict()
        images = dataset.images(split, "view.evaluation", view)
        shape = images.shape
    else:
        images, shape = dataset.splits[split], dataset.image_shape
    if tuple(shape) != run.image_shape or dataset.class_names != run.class_names:
        raise errors.UserError(
            f"the data has other classes or image sizes than that of {run.path}; name the right "
            "place with --data=PATH"
        )
    others = {
        "precise": configs.call(precision.create, "precision", config.precision),
        "mesh": parallel.data_mesh(),
    }
    common = (run.model, images, run.preprocessing, config.evaluation.batch_size)
    if streamed:
        reading = dataset.reading(process=0, processes=1)
        evaluate = streams.make_evaluate(*common, reading, note=report, **others)
    else:
        evaluate = make_evaluate(*common, **others)
    return evaluate(run.variables(step))


def report(bad: dict[int, str]) -> None:
    """Says which images were left out."""
    for line in bad.values():
        print(f"skipped: {line}")
