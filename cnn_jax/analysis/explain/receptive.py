"""The receptive field of a layer's units: what they can see, and what they do see."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax.analysis.explain import pictures
from cnn_jax.errors import UserError
from cnn_jax.models.inside import activations, receptive_field
from cnn_jax.runs import features
from cnn_jax.runs.environment import pinned_jax

if TYPE_CHECKING:
    import flax.linen as nn
    from matplotlib.axes import Axes

    from cnn_jax.runs import Run

LARGE = 4096  # pixels: an image that no field of convolutions fills


class Field(NamedTuple):
    """The receptive field of a layer, in pixels; None where it is all of the image."""

    layer: str
    height: int | None
    width: int | None
    stride: int | None  # from the field of a unit to that of the next below it


def theoretical(
    model: "nn.Module", channels: int = 3, layers: Sequence[str] | str = "*"
) -> list[Field]:
    """What a unit in the midst of a large map can see, by layer in order.

    Araujo et al. (2019), distill.pub/2019/computing-receptive-fields, computed from the traced
    program.

    Args:
      channels: of the images.
      layers: names, see `run.features`.
    """
    model, _ = activations.each_block(model, {})
    shape = (LARGE, LARGE, channels)
    wanted = activations.chosen(activations.shapes(model, shape), layers)
    fields = receptive_field.fields(model, shape, wanted)
    return [Field(name, *map(size, fields[name]), stride(fields[name][0])) for name in wanted]


def size(reach: receptive_field.Reach) -> int | None:
    """How many pixels the unit in the middle sees, along an axis."""
    first, last = reach.middle()
    return None if reach.axis is None or last - first + 1 == LARGE else last - first + 1


def stride(reach: receptive_field.Reach) -> int | None:
    """How far the field of the next unit is."""
    if reach.axis is None or len(reach.first) < 2:
        return None
    place = len(reach.first) // 2
    return reach.at(place)[0] - reach.at(place - 1)[0]


def in_image(run: "Run", layer: str, shape: tuple[int, int, int]) -> receptive_field.Box:
    """What the unit in the center of a layer can see of an image [H, W, C]: rows and columns."""
    model, _ = activations.each_block(run.model, {})
    name = activations.one(activations.shapes(model, shape), layer)
    return receptive_field.center(receptive_field.fields(model, shape, (name,))[name])


def measured(
    run: "Run", images: Sequence[np.ndarray], layer: str, seed: int = 0, step: int | str = "last"
) -> np.ndarray:
    """How much the unit in the center of a layer depends on each pixel, float32 [H, W].

    The mean over the images of the absolute gradient of a random sum of the unit's channels: the
    effective receptive field (Luo et al. 2016, arXiv:1701.04128). It is not zero inside of the
    theoretical field, and of a Gaussian's shape.
    """
    views = run.views(images, "measured")
    if not views:
        raise UserError("no images to look at")
    model, variables = activations.each_block(run.model, run.variables(step))
    known = activations.shapes(model, views[0].shape)
    name = activations.one(known, layer)
    if len(known[name]) != 3:
        raise UserError(f"{name} is no map: each of its units sees all of the image", 2)
    directions = np.random.default_rng(seed).standard_normal(known[name][-1], np.float32)
    total = np.zeros(views[0].shape[:2], np.float32)
    with pinned_jax():
        for preprocessing, batch in run.batches(views, features.batch_size(views[0].shape)):
            gradient = _gradient_of_center(model, name, variables, preprocessing, batch, directions)
            total += np.abs(gradient).max(-1).sum(0)
    return total / len(views)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _gradient_of_center(model, name, variables, preprocessing, images, directions):
    def center(pixels):
        found = activations.apply(model, variables, preprocessing(pixels), [name])[1][name]
        return (found[:, found.shape[1] // 2, found.shape[2] // 2] * directions).sum()

    return jax.grad(center)(images.astype(jnp.float32))


def support(gradient: np.ndarray) -> receptive_field.Box:
    """The smallest box of rows and columns outside of which a measured field is zero."""
    return tuple(
        slice(int(places[0]), int(places[-1]) + 1)
        for places in (np.flatnonzero(gradient.any(axis)) for axis in (1, 0))
    )


def draw(axes: "Axes", image: np.ndarray, gradient: np.ndarray, box: receptive_field.Box) -> "Axes":
    """Draws a measured field over an image, and the theoretical one as a frame."""
    from matplotlib.patches import Rectangle

    pictures.draw_heat(axes, image, np.sqrt(gradient))
    rows, columns = box
    corner = (columns.start - 0.5, rows.start - 0.5)
    sides = (columns.stop - columns.start, rows.stop - rows.start)
    axes.add_patch(Rectangle(corner, *sides, fill=False, color="tab:cyan", linewidth=2))
    return axes
