"""Data that is read ahead of the steps: handed to programs, and to evaluations."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import flax.linen as nn
import flax.struct
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from cnn_jax import errors
from cnn_jax.cluster.join import ProcessGroup
from cnn_jax.data import folder, preprocess
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.data.stream import reader
from cnn_jax.data.stream.reader import Images, TrainingStream
from cnn_jax.data.stream.sources import FakeSource
from cnn_jax.data.stream.streamed import StreamedDataset
from cnn_jax.files import cache_folder
from cnn_jax.training import compiler, sharding, steps
from cnn_jax.training.inputs import Evaluate, Report
from cnn_jax.training.plan import Plan
from cnn_jax.training.sharding import Seeds
from cnn_jax.training.steps import Batch, TrainState


class StreamedData(flax.struct.PyTreeNode):
    """What of a streamed data set stays on the devices: its preprocessing. Steps receive images."""

    preprocessing: Preprocessing

    def batch(
        self, stored: reader.Batch, color_jitter: Callable = lambda images, _: images
    ) -> Batch:
        """Images as they were stored, uint8 [B, H, W, C], for the network."""
        images = color_jitter(stored.images, stored.index)
        return Batch(self.preprocessing(images), stored.labels, stored.index)

    def counts(self, stored: reader.Batch) -> steps.Metrics:
        """How many images could not be decoded."""
        return {"skipped": stored.bad.sum()}


class StreamedInputs:
    """The inputs of a run whose data is read ahead, see `inputs.Inputs`; each process reads a part.

    The examples of a program are made, and sent to the devices, while the program before it runs.
    """

    def __init__(
        self,
        dataset: StreamedDataset,
        preprocessing: Preprocessing,
        view: ConfigDict,
        plan: Plan,
        seeds: Seeds,
        mesh: Mesh,
        group: ProcessGroup,
    ):
        """Raises `UserError` for several seeds in several processes."""
        if len(seeds.numbers) > 1 and group.count > 1:
            raise errors.UserError("several seeds of a stream train in one process: drop --seeds")
        self._dataset, self._view, self._plan, self._seeds = dataset, view, plan, seeds
        self._mesh, self._group = mesh, group
        self._reading = dataset.reading(group.index, group.count)
        self._data = group.put_global(StreamedData(preprocessing), sharding.replicated(mesh))
        images = dataset.images("train", "view.train", view.train.to_dict())
        # Each seed has an order of its own, so a stream.
        self._streams = [
            TrainingStream(images, seed, plan.batch_size, self._reading) for seed in seeds.numbers
        ]
        self._bad = reader.BadImages()
        self._waited = 0.0  # seconds, since the last report
        self._thread = ThreadPoolExecutor(1)
        self._ahead = self._asked = None  # what is being made, and (first step, steps) of it
        self._batches: list[reader.Batches] = []  # by seed
        self._position: int | None = None  # the step of the next of these

    def take(self, first: int, count: int, state: TrainState) -> tuple[StreamedData, reader.Batch]:
        """The data, and the batches [K, B, ...]; starts to make those of the next program."""
        if self._asked != (first, count):
            self._ask((first, count))
        if not self._ahead.done():
            jax.block_until_ready(state.step)  # until here the devices had something to do
            begin = time.perf_counter()
            self._ahead.exception()
            self._waited += time.perf_counter() - begin
        examples = self._ahead.result()
        self._ask(next(self._plan.dispatches(first + count), None))
        return self._data, examples

    def make_evaluate(self, split: str, model: nn.Module, jit: compiler.Jit) -> Evaluate:
        """See `make_evaluate` below."""
        images = self._dataset.images(split, "view.evaluation", self._view.evaluation.to_dict())
        return make_evaluate(
            model,
            images,
            self._data,
            self._plan.eval_batch_size,
            self._reading,
            jit,
            self._mesh,
            self._group,
            functools.partial(self._bad.add, split),
        )

    def report(self) -> Report:
        """The bad images, and the seconds that the devices waited."""
        waited, self._waited = self._waited, 0.0
        return Report(self._bad.warnings(), waited)

    def close(self) -> None:
        """Ends the threads and processes that read."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        for batches in self._batches:
            batches.close()

    def _ask(self, program: tuple[int, int] | None) -> None:
        self._asked = program
        self._ahead = program and self._thread.submit(self._make, *program)

    def _make(self, first: int, count: int) -> reader.Batch:
        if self._position != first:
            for batches in self._batches:
                batches.close()
            self._batches = [stream.from_step(first) for stream in self._streams]
        by_seed = []
        stack = np.stack if count > 1 else lambda own: own[0][None]  # one is not copied
        for batches in self._batches:
            taken = [next(batches) for _ in range(count)]
            by_seed.append(jax.tree.map(lambda *own: stack(own), *taken))
            self._bad.add("train", batches.skipped)
        self._position = first + count
        examples = self._seeds.stack_examples(by_seed)
        return self._group.put_local(examples, self._seeds.by_example)


def make_evaluate(
    model: nn.Module,
    images: Images,
    data: StreamedData,
    batch_size: int,
    reading: reader.Reading,
    jit: compiler.Jit,
    mesh: Mesh,
    group: ProcessGroup,
    note: Callable[[reader.Bad], None],
) -> Evaluate:
    """As `inputs.make_evaluate`, and how many images were skipped; `note` is called with them."""
    eval_step = steps.make_eval_step(model)
    whole, by_example = sharding.replicated(mesh), NamedSharding(mesh, PartitionSpec("data"))
    batch_size = sharding.rounded_up(batch_size, mesh)

    def add(sums, variables, data, stored):
        variables = jax.lax.with_sharding_constraint(variables, whole)
        values = eval_step(variables, data.batch(stored), stored.weights)
        return jax.tree.map(lambda a, b: a + b, sums, {**values, "skipped": stored.bad.sum()})

    program = jit(add, mesh, out_shardings=whole)

    def evaluate(variables):
        zero = dict.fromkeys(steps.SUMS, np.float32(0)) | {"skipped": np.int32(0)}
        sums = group.put_global(zero, whole)
        batches = reader.evaluation(images, batch_size, reading)
        running = collections.deque(maxlen=2)
        with contextlib.closing(batches):
            for batch in batches:
                sums = program(sums, variables, data, group.put_local(batch, by_example))
                if len(running) == 2:  # or batches would pile up where the network is slower
                    jax.block_until_ready(running[0])
                running.append(sums)
        note(batches.skipped)
        return means(sums, images)

    return evaluate


def means(sums: dict[str, jax.Array], images: Images) -> dict[str, float]:
    """Of the sums over a split; raises `UserError` where nothing of it could be decoded."""
    values = {name: float(value) for name, value in jax.device_get(sums).items()}
    count, skipped, size = values.pop("count"), int(values.pop("skipped")), len(images.source)
    assert count + skipped == size, f"counted {count} and skipped {skipped} of {size} examples"
    if not count:
        raise errors.UserError(
            f"none of {size:,} images can be decoded, such as {images.source.where(0)}"
        )
    return {name: value / count for name, value in values.items()} | {"skipped": skipped}


def fit(
    dataset: StreamedDataset, view: ConfigDict, group: ProcessGroup, **names: str
) -> Preprocessing:
    """`preprocess.fit` of a stream as evaluations see it; statistics are kept in the cache folder.

    Args:
      names: the group `preprocessing`.
    """
    images = dataset.images("train", "view.evaluation", view.to_dict())
    make = functools.partial(preprocess.fit_stream, channels=images.shape[-1], **names)
    if not preprocess.is_computed(names["mean"], names["std"]):
        return make(batches=())
    if isinstance(images.source, FakeSource):
        images = dataclasses.replace(images, source=images.source.distinct())
    seen = (images.shape, view.to_dict(), images.on_error)
    key = json.dumps([images.source.fingerprint(), *seen, names])
    digest = hashlib.sha256(key.encode()).hexdigest()
    cache = cache_folder("statistics") / f"{digest[:32]}.npz"
    if (kept := folder.read_cache(cache)) is not None:
        return preprocess.from_arrays(kept)
    size = len(images.source)
    if group.index == 0:
        print(f"the mean and std of {size:,} images are computed, once")
    batches = reader.evaluation(images, min(256, size), dataset.reading(process=0, processes=1))
    fitted = make(batches=batches)
    folder.write_cache(cache, preprocess.to_arrays(fitted))
    return fitted
