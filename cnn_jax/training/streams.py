"""Data that is read ahead of the steps: handed to programs, and to evaluations."""

import collections
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnn_jax import errors
from cnn_jax.cluster import processes
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.data.stream import reader
from cnn_jax.data.stream.reader import Images, Reading, TrainingStream
from cnn_jax.training import compiler, sharding, steps
from cnn_jax.training.plan import Plan
from cnn_jax.training.seeds import Members
from cnn_jax.training.state import TrainState

TOLD = 20  # bad images that are named, of each kind of reading


class BadImages:
    """What could not be decoded so far, by its split and number, and which of it was told."""

    def __init__(self):
        self._found: dict[tuple[str, int], str] = {}
        self._told = 0

    def add(self, split: str, bad: reader.Bad) -> None:
        """Takes what a reader has found; it may have been known."""
        for number, line in bad.items():
            self._found.setdefault((split, number), line)

    def warnings(self) -> list[str]:
        """A line for each that is new; of many, the last line counts the rest."""
        lines = list(self._found.values())[self._told :]
        before, self._told = self._told, self._told + len(lines)
        named = [f"skipped: {line}" for line in lines[: max(0, TOLD - before)]]
        if rest := len(lines) - len(named):
            named.append(f"skipped: {rest} more, {self._told} in all")
        return named


class Feed:
    """The examples of each program, made and sent to the devices while the one before runs.

    waited: seconds in all that the devices had nothing to do, because there was no data.
    """

    def __init__(self, streams: list[TrainingStream], plan: Plan, members: Members, bad: BadImages):
        """`streams`: one for each seed of `members`."""
        self.waited = 0.0
        self._streams, self._plan, self._members, self._bad = streams, plan, members, bad
        self._thread = ThreadPoolExecutor(1)
        self._ahead = self._asked = None  # what is being made, and (first step, steps) of it
        self._batches: list[reader.Batches] = []  # by seed
        self._position = -1  # the step of the next of these

    def take(self, first: int, count: int, state: TrainState) -> reader.Batch:
        """The batches [K, B, ...] of the program that `state` goes into; starts with the next."""
        if self._asked != (first, count):
            self._ask((first, count))
        if not self._ahead.done():
            jax.block_until_ready(state.step)  # until here the devices had something to do
            begin = time.perf_counter()
            self._ahead.exception()
            self.waited += time.perf_counter() - begin
        examples = self._ahead.result()
        self._ask(next(self._plan.dispatches(first + count), None))
        return examples

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
        for batches in self._batches:
            taken = [next(batches) for _ in range(count)]
            by_seed.append(jax.tree.map(lambda *own: np.stack(own), *taken))
            self._bad.add("train", batches.skipped)
        self._position = first + count
        examples = self._members.join_examples(by_seed)
        return processes.put_local(examples, self._members.by_example)


def make_evaluate(
    model: nn.Module,
    images: Images,
    preprocessing: Preprocessing,
    batch_size: int,
    reading: Reading,
    *,
    precise: Callable[[Callable], Callable],
    mesh: Mesh,
    note: Callable[[reader.Bad], None],
) -> Callable[[Any], dict[str, float]]:
    """`evaluate(variables)`: as `resident.make_evaluate`, and how many images were skipped.

    `note` is told which they are.
    """
    eval_step = steps.make_eval_step(model)
    whole, by_example = sharding.replicated(mesh), NamedSharding(mesh, PartitionSpec("data"))
    data = processes.put_global(steps.StreamedData(preprocessing), whole)
    batch_size = sharding.rounded_up(batch_size, mesh)

    def add(sums, variables, data, stored):
        variables = jax.lax.with_sharding_constraint(variables, whole)
        values = eval_step(variables, data.batch(stored), stored.weights)
        return jax.tree.map(lambda a, b: a + b, sums, {**values, "skipped": stored.bad.sum()})

    program = compiler.jit(precise(add), out_shardings=whole)

    def evaluate(variables):
        zero = dict.fromkeys(steps.SUMS, np.float32(0)) | {"skipped": np.int32(0)}
        sums = processes.put_global(zero, whole)
        batches = reader.evaluation(images, batch_size, reading)
        running = collections.deque(maxlen=2)
        with contextlib.closing(batches):
            for batch in batches:
                sums = program(sums, variables, data, processes.put_local(batch, by_example))
                if len(running) == 2:  # or batches would pile up where the network is slower
                    jax.block_until_ready(running[0])
                running.append(sums)
        note(batches.skipped)
        return means(sums, images)

    return evaluate


def means(sums: dict[str, jax.Array], images: Images) -> dict[str, float]:
    """Of the sums over a split; raises `UserError` where nothing of it could be decoded."""
    values = {name: float(value) for name, value in sums.items()}
    count, skipped, size = values.pop("count"), int(values.pop("skipped")), len(images.source)
    assert count + skipped == size, f"counted {count} and skipped {skipped} of {size} examples"
    if not count:
        raise errors.UserError(
            f"none of {size:,} images can be decoded, such as {images.source.where(0)}"
        )
    return {name: value / count for name, value in values.items()} | {"skipped": skipped}
