"""Logits of every example of a split, exactly once, by a protocol and for several weights at once.

The views are cut on the host, ahead of the device. Examples whose views have the same shape share
batches; the last batch of a shape is padded, the padding thrown away, and the views are counted.
"""

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
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.data.stream import reader
from cnn_jax.data.stream.sources import Source
from cnn_jax.evaluation.protocols import Part, Protocol
from cnn_jax.training import compiler, sharding


class Predictions(NamedTuple):
    """What the weights of one kind say of the examples that could be read."""

    index: np.ndarray  # int32 [N], the number of each example in its split, in order
    labels: np.ndarray  # int32 [N]
    logits: np.ndarray  # float32 [N, classes]; the logarithm of the mean, where softmax is averaged


class PlannedBatch(NamedTuple):
    """A batch to be: some examples, for one part of the protocol."""

    part: Part
    shape: tuple[int, int]  # height and width of the views
    views: int  # of each example
    rows: np.ndarray  # int32 [n], the numbers of the examples
    batch_size: int  # n, or more: the rest is padding


class ViewBatch(NamedTuple):
    """A batch."""

    work: PlannedBatch
    views: np.ndarray  # uint8 [B, V, H, W, C]


class Examples(NamedTuple):
    """The images of a split, one by one; may be read from threads."""

    labels: np.ndarray  # int32 [N]
    open: Callable[[int], Image.Image]  # raises `BadImage`, `OSError` or `UserError`
    where: Callable[[int], str]  # which image that is, for a message
    mode: str  # Pillow's, that views have: "RGB", or "L" for networks of one channel
    on_error: str  # "raise" or "skip"

    def use(self, i: int, function: Callable[[Image.Image], Any], bad: reader.Bad) -> Any:
        """`function(image i)`; of one that is to be skipped None, and a line in `bad`."""
        try:
            return function(self.open(i))
        except (decode.BadImage, OSError, errors.UserError) as error:
            what = f"cannot take the image {self.where(i)} ({errors.first_line(error)})"
        if self.on_error == "raise":
            raise reader.refused(what)
        bad[i] = what
        return None


def of_source(source: Source, on_error: str) -> Examples:
    """The examples of a source of encoded images."""
    mode = "L" if source.channels == 1 else "RGB"
    return Examples(
        source.labels, lambda i: decode.open_image(source.encoded(i)), source.where, mode, on_error
    )


def of_arrays(name: str, split: Split) -> Examples:
    """The examples of a split in memory, none of which is bad."""
    images, labels = split
    is_gray = images.shape[-1] == 1

    def opened(i: int) -> Image.Image:
        return Image.fromarray(images[i, ..., 0] if is_gray else images[i])

    return Examples(labels, opened, lambda i: f"{name}/{i}", "L" if is_gray else "RGB", "raise")


def predict(
    model: nn.Module,
    weights: Mapping[str, Any],
    preprocessing: Preprocessing,
    examples: Examples,
    protocol: Protocol,
    *,
    pixels: int,
    precise: Callable[[Callable], Callable],
    mesh: Mesh,
    threads: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Predictions], reader.Bad]:
    """Predictions for each of the named `weights`, and the images that were skipped.

    Args:
      weights: variables by name.
      pixels: of all views in a batch, about: what the device has memory for.
      threads: that cut views; 0: one per core.
      on_progress: of the views done so far, and of all.

    Raises:
      UserError: an image that cannot be read and is not to be skipped, or images of a size that
        the network or the preprocessing does not take.
    """
    bad: reader.Bad = {}
    works = list(plan(examples, protocol, pixels, mesh.size, bad))
    score = compiler.jit(precise(make_score(model, protocol)))
    whole, by_example = sharding.replicated(mesh), NamedSharding(mesh, PartitionSpec("data"))
    weights = {name: jax.device_put(variables, whole) for name, variables in weights.items()}
    total: dict[str, np.ndarray] = {}
    count = np.zeros(len(examples.labels), np.int64)
    all_views = sum(len(work.rows) * work.views for work in works)
    for work, views in read(examples, protocol, works, threads, bad):
        here = for_size(preprocessing, work.shape)
        on_device = jax.device_put(views, by_example)
        for name, variables in weights.items():
            scores = np.asarray(score(variables, here, on_device))[: len(work.rows)]
            shape = (len(count), scores.shape[1])
            total.setdefault(name, np.zeros(shape, np.float32))[work.rows] += scores
        count[work.rows] += work.views
        on_progress(int(count.sum()), all_views)
    each = protocol.views_of_each
    good = np.setdiff1d(np.arange(len(count)), list(bad)).astype(np.int32)
    if not len(good):
        raise errors.UserError(f"none of {len(count):,} images can be used: {min(bad.items())[1]}")
    assert (count[good] == each).all(), f"not every example was seen {each} times"
    labels = examples.labels[good]
    return {
        name: Predictions(good, labels, average(sums[good] / each, protocol, each))
        for name, sums in total.items()
    }, bad


def average(mean: np.ndarray, protocol: Protocol, views: int) -> np.ndarray:
    """Logits [N, classes] of the mean scores."""
    if views == 1 or protocol.average == "logits":
        return mean
    return np.log(np.maximum(mean, np.finfo(np.float32).tiny))


def make_score(model: nn.Module, protocol: Protocol) -> Callable[..., jax.Array]:
    """(variables, preprocessing, views uint8 [B, V, H, W, C]) -> sums over the views [B, classes].

    Of one view in all the logits, otherwise of what the protocol averages.
    """
    plain = protocol.average == "logits" or protocol.views_of_each == 1

    def score(variables, preprocessing, views):
        batch, count, *shape = views.shape
        x = preprocessing(views.reshape(batch * count, *shape))
        if protocol.mirrored:
            x = jnp.concatenate([x, x[:, :, ::-1]])
        logits = model.apply(variables, x, train=False).astype(jnp.float32)
        logits = logits.reshape(-1, batch, count, logits.shape[-1])
        return (logits if plain else jax.nn.softmax(logits)).sum((0, 2))

    return score


def plan(
    examples: Examples, protocol: Protocol, pixels: int, devices: int, bad: reader.Bad
) -> Iterator[PlannedBatch]:
    """The batches that every example takes part in, once for each part of the protocol."""
    everything = np.arange(len(examples.labels), dtype=np.int32)
    sizes = None
    if any(part.size is None for part in protocol.parts):  # a look at each header
        sizes = {int(i): examples.use(i, lambda image: image.size, bad) for i in everything}
    for part in protocol.parts:
        groups: dict[tuple[int, int], list[int]] = {}
        for i in everything:
            size = sizes[int(i)] if sizes else (1, 1)
            if size:
                groups.setdefault(protocol.shape(part, *size), []).append(int(i))
        count = part.count * (1 + protocol.mirrored)
        for shape, members in groups.items():
            fitting = max(1, pixels // (count * shape[0] * shape[1]))
            batches = -(-len(members) // fitting)
            size = -(-len(members) // batches)
            size = -(-size // devices) * devices
            for first in range(0, len(members), size):
                rows = np.array(members[first : first + size], np.int32)
                yield PlannedBatch(part, shape, count, rows, size)


def read(
    examples: Examples, protocol: Protocol, works: list[PlannedBatch], threads: int, bad: reader.Bad
) -> Iterator[ViewBatch]:
    """The batches in order, ahead of use; adds to `bad`, whose views are zero."""
    reading = reader.Reading(threads=threads, workers=0, prefetch=2, process=0, processes=1)
    make = functools.partial(ready, examples, protocol, works)
    batches = reader.read_ahead(make, range(len(works)), reading)
    with contextlib.closing(batches):
        for batch in batches:
            bad |= batches.skipped
            yield batch


def ready(
    examples: Examples, protocol: Protocol, works: list[PlannedBatch], number: int
) -> tuple[ViewBatch, reader.Bad]:
    """One batch of views."""
    work, bad = works[number], {}

    def cut(image):
        return protocol.views(work.part, decode.to_rgb(image).convert(examples.mode))

    found = [examples.use(int(i), cut, bad) for i in work.rows]
    shape = (work.batch_size, work.part.count, *work.shape, len(examples.mode))
    views = np.zeros(shape, np.uint8)
    for row, array in zip(views, found, strict=False):
        if array is not None:
            row[:] = array
    return ViewBatch(work, views), bad


def for_size(preprocessing: Preprocessing, shape: tuple[int, int]) -> Preprocessing:
    """The same for images of another size: a mean of every pixel becomes that of the channel."""
    if preprocessing.whitening is not None:
        side = preprocessing.mean.shape[:2]
        if side != shape:
            raise errors.UserError(
                f"ZCA whitening is for images of {side[0]}x{side[1]}, the protocol has views of "
                f"{shape[0]}x{shape[1]}: choose --protocol=center without --resize and --crop"
            )
        return preprocessing

    def fitted(array):
        array = np.asarray(array)
        fits = array.ndim < 3 or array.shape[:2] in (shape, (1, 1))
        return array if fits else array.mean((0, 1))

    mean, std = fitted(preprocessing.mean), fitted(preprocessing.std)
    return preprocessing.replace(mean=mean, std=std)
