"""Where a run's examples come from: data in the devices' memory here, streams in `streams`."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_jax import data, errors
from cnn_jax.cluster.join import ProcessGroup
from cnn_jax.data.dataset import batch_indices, evaluation_batches, to_rows
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.training import compiler, sharding, steps
from cnn_jax.training.plan import Plan
from cnn_jax.training.sharding import Seeds
from cnn_jax.training.steps import Batch, TrainState

Array = jax.Array
Evaluate = Callable[[Any], dict[str, float]]  # from variables


class Report(NamedTuple):
    """What reading ahead has to tell of the time since the last report."""

    warnings: list[str]  # a line for each image that was found to be bad
    data_wait_seconds: float | None  # that the devices had no data; None of data in memory


class Inputs(Protocol):
    """What gives the programs of a run their examples: data in memory, or a stream."""

    def take(self, first: int, count: int, state: TrainState) -> tuple[steps.DeviceData, Any]:
        """What a program of `count` steps from `first` on takes beside `state`."""

    def make_evaluate(self, split: str, model: nn.Module, jit: compiler.Jit) -> Evaluate:
        """`evaluate(variables)`: loss, top-1 and top-5 error (0-1), means over all of a split."""

    def report(self) -> Report:
        """What has happened since the last report."""

    def close(self) -> None:
        """Ends the threads and processes that read."""


class InMemoryData(flax.struct.PyTreeNode):
    """A split on the device; a step is given the numbers of its examples."""

    pixels: Array  # uint8 [N, row], see `dataset.to_rows`
    labels: Array  # int32 [N]
    preprocessing: Preprocessing
    shape: tuple[int, int, int] = flax.struct.field(pytree_node=False)  # height, width, channels

    @classmethod
    def of(cls, split: data.Split, preprocessing: Preprocessing) -> "InMemoryData":
        """The split, still on the host."""
        images, labels = split
        return cls(to_rows(images), labels, preprocessing, images.shape[1:])

    def batch(self, index: Array, color_jitter: Callable = lambda images, _: images) -> Batch:
        """The examples `index` [B]."""
        images = self.pixels[index][:, : math.prod(self.shape)].reshape(-1, *self.shape)
        images = color_jitter(images, index)
        return Batch(self.preprocessing(images), self.labels[index], index)

    def counts(self, index: Array) -> steps.Metrics:
        """Nothing: there is no bad image in memory."""
        del index
        return {}


class InMemoryInputs:
    """The inputs of a run whose data lies on the devices, see `Inputs`."""

    def __init__(
        self,
        dataset: data.Dataset,
        preprocessing: Preprocessing,
        view: ConfigDict,
        plan: Plan,
        seeds: Seeds,
        mesh: Mesh,
        group: ProcessGroup,
    ):
        del view  # images in memory are seen in full
        self._dataset, self._plan, self._seeds = dataset, plan, seeds
        self._mesh, self._group = mesh, group
        train = InMemoryData.of(dataset.splits["train"], preprocessing)
        self.data = group.put_global(train, sharding.replicated(mesh))

    def take(self, first: int, count: int, state: TrainState) -> tuple[InMemoryData, Array]:
        """The data, and the indices [K, B] of the examples."""
        del state
        sizes = (self._plan.batch_size, self._plan.train_size)
        indices = [batch_indices(seed, first, count, *sizes) for seed in self._seeds.numbers]
        stacked = self._seeds.stack_examples(indices)
        return self.data, self._group.put_global(stacked, self._seeds.by_example)

    def make_evaluate(self, split: str, model: nn.Module, jit: compiler.Jit) -> Evaluate:
        """See `make_evaluate` below."""
        images, preprocessing = self._dataset.splits[split], self.data.preprocessing
        size, place = self._plan.eval_batch_size, (self._mesh, self._group)
        return make_evaluate(model, images, preprocessing, size, jit, *place)

    def report(self) -> Report:
        """Nothing is read, and nothing waited for."""
        return Report([], None)

    def close(self) -> None:
        """Nothing is open."""


def make_evaluate(
    model: nn.Module,
    split: data.Split,
    preprocessing: Preprocessing,
    batch_size: int,
    jit: compiler.Jit,
    mesh: Mesh,
    group: ProcessGroup,
) -> Evaluate:
    """`evaluate(variables)`: mean loss, top-1 and top-5 error (0-1) of the images as they are.

    All of the split is one program.
    """
    whole = sharding.replicated(mesh)
    in_memory = group.put_global(InMemoryData.of(split, preprocessing), whole)
    batches = evaluation_batches(len(split.labels), sharding.rounded_up(batch_size, mesh))
    indices, weights = group.put_global(batches, sharding.by_batch(mesh))
    eval_step = steps.make_eval_step(model)

    def sums_of(variables, in_memory, indices, weights):
        variables = jax.lax.with_sharding_constraint(variables, whole)

        def add(sums, batch):
            index, weight = batch
            own = eval_step(variables, in_memory.batch(index), weight)
            return jax.tree.map(jnp.add, sums, own), None

        zero = dict.fromkeys(steps.SUMS, jnp.float32(0))
        return jax.lax.scan(add, zero, (indices, weights))[0]

    program = jit(sums_of, mesh)

    def evaluate(variables):
        sums = jax.device_get(program(variables, in_memory, indices, weights))
        count = float(sums.pop("count"))
        assert count == len(split.labels), f"counted {count} of {len(split.labels)} examples"
        return {name: float(np.float64(value) / count) for name, value in sums.items()}

    return evaluate


def check_kinds(dataset: Any, view: ConfigDict, *fields: str) -> None:
    """Raises `UserError` for a view that the data set has not: in memory there is only the full."""
    for field in fields:
        if isinstance(dataset, data.Dataset) and (kind := view[field].kind) != "full":
            raise errors.UserError(
                f"view.{field}.kind {kind!r} is cut out of a stream: set data.storage to "
                "'stream', or the view to 'full'"
            )


def check_view(view: ConfigDict) -> None:
    """Raises `UserError` where the group has not the two views that there must be."""
    for name in view:
        if name not in ("train", "evaluation"):
            raise errors.unknown("field of config.view", name, ("train", "evaluation"))
    for name in ("train", "evaluation"):
        if name not in view or "kind" not in view[name]:
            raise errors.UserError(f"config.view.{name} lacks its field 'kind'", 2)
