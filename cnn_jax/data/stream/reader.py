"""Batches of data that does not fit in memory: Grain reads and decodes them ahead of the steps.

The batch of a step holds the examples that `dataset.batch_indices` names, as in memory, so that a
run resumes at any step without reading what came before. Each process reads one slice of every
batch. The view of an example is a function of (seed, epoch, example): threads, worker processes and
the number of machines change the speed and nothing else.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cnn_jax import errors
from cnn_jax.data.dataset import batch_indices, evaluation_batches
from cnn_jax.data.decode import BadImage
from cnn_jax.data.stream.sources import Source
from cnn_jax.data.stream.views import View

ON_ERROR = ("raise", "skip")
GRAIN_FLAG = "grain_enable_multiprocess_worker_profiling"

# For each image that cannot be decoded: its number in the source, and a line that says why.
Bad = dict[int, str]
NAMED = 20  # bad images that are named, of a run


class Batch(NamedTuple):
    """The slice of a batch that one process reads."""

    images: np.ndarray  # uint8 [B, H, W, 3]
    labels: np.ndarray  # int32 [B]
    index: np.ndarray  # int32 [B], the number of each example in its split
    weights: np.ndarray  # float32 [B], all 1 in training; 0 for padding and skipped images
    bad: np.ndarray  # bool [B], could not be decoded; in training another image replaces it


@dataclass(frozen=True)
class Reading:
    """How many threads and processes read. They change the speed, not the batches."""

    threads: int  # 0: one more than cores; with workers, cores / workers in each of them
    workers: int  # processes that decode; 0: the threads of this one do
    prefetch: int  # batches kept ready, besides the one that each thread is making
    process: int  # the number of this process among those that train
    processes: int  # how many train, each of which reads one slice of every batch

    def __post_init__(self):
        fields = [("threads", self.threads, 0), ("workers", self.workers, 0)]
        for name, value, least in [*fields, ("prefetch", self.prefetch, 1)]:
            if value < least:
                raise errors.UserError(f"data.{name} is {value}: it must be {least} or more")

    def local_slice(self, batch_size: int) -> slice:
        """This process' slice of a batch. Raises `UserError` where the batch does not divide."""
        piece, rest = divmod(batch_size, self.processes)
        if rest:
            raise errors.UserError(
                f"a batch of {batch_size} does not divide among {self.processes} processes"
            )
        return slice(self.process * piece, (self.process + 1) * piece)


class Batches(Iterator[Batch]):
    """Batches in order.

    skipped: the images of the batches so far that could not be decoded.
    """

    def __init__(self, results: Iterator[tuple[Batch, Bad]]):
        self._results = results
        self.skipped: Bad = {}

    def __next__(self) -> Batch:
        batch, bad = next(self._results)
        self.skipped |= bad
        return batch

    def close(self) -> None:
        """Ends the threads and the processes."""
        self._results.close()
        self._results = iter(())  # Grain's objects complain when they outlive its modules, at exit


@dataclass(frozen=True)
class Images:
    """A split seen by a view.

    on_error: what an image does that cannot be decoded: "raise" a `UserError` that names it, or
      "skip", it is left out.
    """

    source: Source
    view: View
    shape: tuple[int, int, int]  # of every image after the view
    on_error: str

    def __post_init__(self):
        if self.on_error not in ON_ERROR:
            raise errors.unknown("data.on_error", self.on_error, ON_ERROR)

    def look(self, i: int, rng: np.random.Generator, bad: Bad) -> np.ndarray | None:
        """The view of example `i`; None of one to be skipped, which is added to `bad`."""
        source = self.source
        try:
            image = self.view(source.encoded(i), rng)
        except (BadImage, OSError, errors.UserError) as error:
            what = undecodable(source, i, error)
        else:
            if image.shape == self.shape:
                return image
            raise errors.UserError(
                f"{source.where(i)} is {image.shape[1]}x{image.shape[0]} pixels and the first "
                f"image {self.shape[1]}x{self.shape[0]}: bring all to one size with "
                "--config.data.image_size=PIXELS"
            )
        if self.on_error == "raise":
            raise refused(what)
        bad[i] = what
        return None


def undecodable(source: Source, i: int, error: Exception) -> str:
    """A line about an image that cannot be decoded."""
    return f"cannot decode the image {source.where(i)} ({errors.first_line(error)})"


def refused(what: str) -> errors.UserError:
    """The error for such an image where it is not to be skipped."""
    return errors.UserError(
        f"{what}; replace or remove it, or go on without it by --config.data.on_error=skip"
    )


@dataclass(frozen=True)
class TrainingStream:
    """`for batch in stream.from_step(first_step)`: batch after batch, without an end.

    An image to be skipped is replaced by the next good one of the source, with its own label and
    number; in an image folder that is mostly one of the same class.
    """

    images: Images
    seed: int
    batch_size: int  # of all processes together
    reading: Reading

    def __post_init__(self):
        self.reading.local_slice(self.batch_size)  # raises where it does not divide
        size = len(self.images.source)
        if not 1 <= self.batch_size <= size:
            raise errors.UserError(
                f"a batch of {self.batch_size:,} of a training split of {size:,} images"
            )

    def from_step(self, first_step: int) -> Batches:
        """The batches from a step on; earlier ones are not read."""
        return read_ahead(self.batch, range(first_step, sys.maxsize), self.reading)

    def batch(self, step: int) -> tuple[Batch, Bad]:
        """This process' slice of the batch of one step."""
        source = self.images.source
        wanted = batch_indices(self.seed, step, 1, self.batch_size, len(source))[0]
        wanted = wanted[self.reading.local_slice(self.batch_size)]
        epoch = step // (len(source) // self.batch_size)
        bad = {}
        images, index = zip(*(self.example(int(i), epoch, bad) for i in wanted), strict=True)
        index = np.array(index, np.int32)
        weights = np.ones(len(index), np.float32)
        return Batch(np.stack(images), source.labels[index], index, weights, index != wanted), bad

    def example(self, i: int, epoch: int, bad: Bad) -> tuple[np.ndarray, int]:
        """The view of example `i` or of the next good one, and its number; adds to `bad`."""
        size = len(self.images.source)
        for j in range(i, i + size):
            # The counters are so far apart that the random numbers of two examples never overlap.
            rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, epoch, i]))
            image = self.images.look(j % size, rng, bad)
            if image is not None:
                return image, j % size
        raise errors.UserError(f"none of {size:,} images can be decoded: {bad[i]}")


def evaluation(images: Images, batch_size: int, reading: Reading) -> Batches:
    """Every example once, in order; the last batch is padded, and a skipped image has weight 0.

    Args:
      batch_size: of all processes together.

    Raises:
      UserError: at once where a batch does not divide among the processes; from `next` for an image
        that cannot be decoded and is not to be skipped.
    """
    own = reading.local_slice(batch_size)
    batches = evaluation_batches(len(images.source), batch_size)
    index, weights = (a[:, own] for a in batches)
    batch = functools.partial(evaluation_batch, images, index, weights)
    return read_ahead(batch, range(len(index)), reading)


def evaluation_batch(
    images: Images, index: np.ndarray, weights: np.ndarray, number: int
) -> tuple[Batch, Bad]:
    """The batch of the row `number` of index and weights, [batches, B] each."""
    index, weights, bad = index[number], weights[number], {}
    blank = np.zeros(images.shape, np.uint8)
    found = [blank] * len(index)
    for place in np.flatnonzero(weights):
        rng = np.random.default_rng(0)  # views for evaluation draw nothing
        image = images.look(int(index[place]), rng, bad)
        found[place] = blank if image is None else image
    is_bad = (weights > 0) & np.isin(index, list(bad))
    weights = np.where(is_bad, np.float32(0), weights)
    return Batch(np.stack(found), images.source.labels[index], index, weights, is_bad), bad


def read_ahead(
    batch: Callable[[int], tuple[Batch, Bad]], numbers: range, reading: Reading
) -> Batches:
    """`batch(number)` for each number, in order; threads or processes compute them ahead of use."""
    import grain  # takes most of a second, and only streams need it

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # Without workers one more than cores: at any time one of them may wait for Python's lock.
    threads = reading.threads or max(1, cores // reading.workers if reading.workers else cores + 1)
    # Each element is a whole batch: the fewer elements, the less time is lost in passing them on.
    elements = grain.MapDataset.range(numbers.start, numbers.stop).map(batch)
    # Grain's buffer counts the batches that threads are making; a smaller one would stop threads.
    options = grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=threads + reading.prefetch
    )
    elements = elements.to_iter_dataset(options)
    if reading.workers:
        allow_worker_processes()
        elements = elements.mp_prefetch(
            grain.multiprocessing.MultiprocessingOptions(
                num_workers=reading.workers, per_worker_buffer_size=reading.prefetch
            )
        )
    return Batches(iter(elements))


def allow_worker_processes() -> None:
    """Lets Grain start its processes in programs that do not parse absl's flags.

    Grain 0.2.18 reads a flag of its own then, which absl refuses before a program has parsed its
    flags (google/grain#1355). Counted as given, that one flag can be read: it has its default, and
    the flags of the program stay as they are.
    """
    from absl import flags

    if GRAIN_FLAG in flags.FLAGS:
        flags.FLAGS[GRAIN_FLAG].present = True


class BadImages:
    """What could not be decoded so far, by its split and number, and how many of it were named."""

    def __init__(self):
        self._found: dict[tuple[str, int], str] = {}
        self._reported = 0

    def add(self, split: str, bad: Bad) -> None:
        """Takes what a reader has found; it may have been known."""
        for number, line in bad.items():
            self._found.setdefault((split, number), line)

    def warnings(self) -> list[str]:
        """A line for each that is new; of many, the last line counts the rest."""
        lines = list(self._found.values())[self._reported :]
        before, self._reported = self._reported, self._reported + len(lines)
        named = [f"skipped: {line}" for line in lines[: max(0, NAMED - before)]]
        if rest := len(lines) - len(named):
            named.append(f"skipped: {rest} more, {self._reported} in all")
        return named
