"""Logits of every example of a split, exactly once, by a protocol and for several weights.

The host cuts the views ahead of the device. Views of the same shape are batched, the last batch of
a shape is padded, and the views of each example are counted.
"""

import collections
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from PIL import Image

from cnn_jax import errors
from cnn_jax.data import decode
from cnn_jax.data.dataset import Split
from cnn_jax.data.preprocess import Preprocessing, for_size
from cnn_jax.data.stream import reader
from cnn_jax.data.stream.sources import Source
from cnn_jax.evaluation.protocols import Part, Protocol
from cnn_jax.training import compiler, sharding

BATCHES_AHEAD = 2  # batches that devices have while the host adds up the scores of one


class Predictions(NamedTuple):
    """The logits of the examples that could be read."""

    index: np.ndarray  # int32 [N], ascending: the number of each example in its split
    labels: np.ndarray  # int32 [N]
    logits: np.ndarray  # float32 [N, classes]; logarithms of the mean softmax if that is averaged


class PlannedBatch(NamedTuple):
    """Which views a batch will have: those of one part of the protocol, of some examples."""

    part: Part
    shape: tuple[int, int]  # height and width of the views
    views: int  # of each example
    rows: np.ndarray  # int32 [n], the numbers of the examples in the split
    batch_size: int  # n or more: the rest is padding


class ViewBatch(NamedTuple):
    """A batch of views."""

    planned: PlannedBatch
    views: np.ndarray  # uint8 [B, V, H, W, C]


class Examples(NamedTuple):
    """The images of a split, one by one; threads may read them."""

    labels: np.ndarray  # int32 [N]
    open: Callable[[int], Image.Image]  # raises `BadImage`, `OSError` or `UserError`
    where: Callable[[int], str]  # the name of an image, for messages
    mode: str  # of the views, as Pillow names it: "RGB", or "L" for networks of one channel
    on_error: str  # "raise" or "skip"
    size: tuple[int, int] | None = None  # width and height where all have the same

    def use(self, i: int, function: Callable[[Image.Image], Any], bad: reader.Bad) -> Any:
        """`function(image i)`; None for a bad image to be skipped, with the reason in `bad`."""
        try:
            return function(self.open(i))
        except (decode.BadImage, OSError, errors.UserError) as error:
            what = f"cannot use the image {self.where(i)} ({errors.first_line(error)})"
        if self.on_error == "raise":
            raise reader.refused(what)
        bad[i] = what
        return None


def of_source(source: Source, mode: str, on_error: str, image_size: int | None = None) -> Examples:
    """The examples of a source of encoded images.

    `image_size`: the side that all of them are brought to first, as `data.image_size` says.
    """

    size = image_size and (image_size, image_size)

    def opened(i: int) -> Image.Image:
        image = decode.open_image(source.encoded(i))
        return decode.cover(decode.to_rgb(image).convert(mode), size) if size else image

    return Examples(source.labels, opened, source.where, mode, on_error, size)


def of_arrays(name: str, mode: str, split: Split) -> Examples:
    """The examples of a split in memory."""
    images, labels = split

    def opened(i: int) -> Image.Image:
        return decode.from_array(images[i])

    height, width = images.shape[1:3]
    return Examples(labels, opened, lambda i: f"{name}/{i}", mode, "raise", (width, height))


def predict(
    model: nn.Module,
    weights: Mapping[str, Any],
    preprocessing: Preprocessing,
    examples: Examples,
    protocol: Protocol,
    *,
    pixels: int,
    jit: compiler.Jit,
    mesh: Mesh,
    threads: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Predictions], reader.Bad]:
    """Predictions for the variables of each name in `weights`, and the images that were skipped.

    Args:
      pixels: about how many all views of a batch have; the memory of the device limits it.
      threads: how many cut views; 0: one per core.
      on_progress: called with the number of views that are done, and of all.

    Raises `UserError` for an image that cannot be read and is not to be skipped, or images of a
    size that the network or the preprocessing does not take.
    """
    bad: reader.Bad = {}
    plan = list(plan_batches(examples, protocol, pixels, mesh.size, bad))
    score = jit(make_score(model, protocol), mesh)
    whole, by_example = sharding.replicated(mesh), NamedSharding(mesh, PartitionSpec("data"))
    weights = {name: jax.device_put(variables, whole) for name, variables in weights.items()}
    sums: dict[str, np.ndarray] = {}
    count = np.zeros(len(examples.labels), np.int64)
    all_views = sum(len(planned.rows) * planned.views for planned in plan)

    def send(batch):
        planned, views = batch
        seen = (for_size(preprocessing, planned.shape), jax.device_put(views, by_example))
        return planned, {name: score(variables, *seen) for name, variables in weights.items()}

    for planned, scores in ahead(read(examples, protocol, plan, threads, bad), send):
        for name, padded in zip(scores, jax.device_get([*scores.values()]), strict=True):
            shape = (len(count), padded.shape[1])
            own = sums.setdefault(name, np.zeros(shape, np.float32))
            own[planned.rows] += padded[: len(planned.rows)]
        count[planned.rows] += planned.views
        on_progress(int(count.sum()), all_views)
    return averages(sums, count, examples, protocol, bad), bad


def ahead(batches: Iterator[Any], send: Callable, count: int = BATCHES_AHEAD) -> Iterator[Any]:
    """`send(batch)` of each in their order; it is given once `count` more are sent, or all."""
    sent = collections.deque()
    with contextlib.closing(batches):
        for batch in batches:
            sent.append(send(batch))
            if len(sent) > count:
                yield sent.popleft()
        yield from sent


def averages(
    sums: Mapping[str, np.ndarray],
    count: np.ndarray,
    examples: Examples,
    protocol: Protocol,
    bad: reader.Bad,
) -> dict[str, Predictions]:
    """The predictions of all examples that are not `bad`.

    Args:
      sums: of the scores over the views, [examples, classes], by the name of the weights.
      count: of the views of each example.
    """
    each = protocol.views_of_each
    good = np.setdiff1d(np.arange(len(count)), list(bad)).astype(np.int32)
    if not len(good):
        raise errors.UserError(f"none of {len(count):,} images can be used: {min(bad.items())[1]}")
    assert (count[good] == each).all(), f"not every example was seen {each} times"
    labels = examples.labels[good]
    return {
        name: Predictions(good, labels, to_logits(total[good] / each, averaged(protocol)))
        for name, total in sums.items()
    }


def averaged(protocol: Protocol) -> str:
    """What is averaged: the logits where there is one view in all."""
    return "logits" if protocol.views_of_each == 1 else protocol.average


def to_logits(mean: np.ndarray, average: str) -> np.ndarray:
    """The logits [N, classes] of mean scores, which are logits already or softmax."""
    return mean if average == "logits" else np.log(np.maximum(mean, np.finfo(np.float32).tiny))


def make_score(model: nn.Module, protocol: Protocol) -> Callable[..., jax.Array]:
    """(variables, preprocessing, views uint8 [B, V, H, W, C]) -> sums over the views [B, classes].

    They are sums of what the protocol averages; of the logits where there is one view in all.
    """
    of_logits = averaged(protocol) == "logits"

    def score(variables, preprocessing, views):
        batch, count, *shape = views.shape
        x = preprocessing(views.reshape(batch * count, *shape))
        if protocol.mirrored:
            x = jnp.concatenate([x, x[:, :, ::-1]])
        logits = model.apply(variables, x, train=False).astype(jnp.float32)
        logits = logits.reshape(-1, batch, count, logits.shape[-1])
        return (logits if of_logits else jax.nn.softmax(logits)).sum((0, 2))

    return score


def plan_batches(
    examples: Examples, protocol: Protocol, pixels: int, devices: int, bad: reader.Bad
) -> Iterator[PlannedBatch]:
    """The batches with all views: every example once for each part of the protocol."""
    everything = np.arange(len(examples.labels), dtype=np.int32)
    sizes = None
    if examples.size is None and any(part.size is None for part in protocol.parts):
        # Reads the header of each image.
        sizes = {int(i): examples.use(i, lambda image: image.size, bad) for i in everything}
    for part in protocol.parts:
        groups: dict[tuple[int, int], list[int]] = {}
        for i in everything:
            size = sizes[int(i)] if sizes else examples.size or (1, 1)
            if size:
                groups.setdefault(protocol.shape(part, *size), []).append(int(i))
        count = part.count * (1 + protocol.mirrored)
        for shape, numbers in groups.items():
            fitting = max(1, pixels // (count * shape[0] * shape[1]))
            batches = -(-len(numbers) // fitting)
            size = -(-len(numbers) // batches)
            size = -(-size // devices) * devices
            for first in range(0, len(numbers), size):
                rows = np.array(numbers[first : first + size], np.int32)
                yield PlannedBatch(part, shape, count, rows, size)


def read(
    examples: Examples, protocol: Protocol, plan: list[PlannedBatch], threads: int, bad: reader.Bad
) -> Iterator[ViewBatch]:
    """Reads the batches in order, ahead of use; adds to `bad`, whose views are zero."""
    reading = reader.Reading(threads=threads, workers=0, prefetch=2, process=0, processes=1)
    make = functools.partial(cut_batch, examples, protocol, plan)
    batches = reader.read_ahead(make, range(len(plan)), reading)
    with contextlib.closing(batches):
        for batch in batches:
            bad |= batches.skipped
            yield batch


def cut_batch(
    examples: Examples, protocol: Protocol, plan: list[PlannedBatch], number: int
) -> tuple[ViewBatch, reader.Bad]:
    """The batch of that number, and the images that were skipped."""
    planned, bad = plan[number], {}

    def cut(image):
        return protocol.views(planned.part, image, examples.mode)

    found = [examples.use(int(i), cut, bad) for i in planned.rows]
    shape = (planned.batch_size, planned.part.count, *planned.shape, len(examples.mode))
    views = np.zeros(shape, np.uint8)
    for row, array in zip(views, found, strict=False):
        if array is not None:
            row[:] = array
    return ViewBatch(planned, views), bad
