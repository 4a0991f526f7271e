"""What a run's network computes of images: activations by layer, and gradients to them."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from cnn_jax.errors import UserError
from cnn_jax.models.inside import activations, relus
from cnn_jax.models.residual_units import unrolled
from cnn_jax.runs.environment import pinned_jax

if TYPE_CHECKING:
    from cnn_jax.runs.run import Run

IMAGE = "image"
PIXELS = 2**20  # of a batch: a layer has about as many numbers for each of them as channels
RULES = {"plain": nn.relu, "guided": relus.guided_relu}


class Traced(NamedTuple):
    """Of a few images, what a network computes of them and what a logit depends on."""

    logits: np.ndarray  # [B, classes]
    activations: dict[str, np.ndarray]  # by layer, [B, ...]
    gradients: dict[str, np.ndarray]  # of the logit of a class, to the activations


def of_views(
    run: "Run", views: Sequence[np.ndarray], layers: Iterable[str] | str, step: int | str = "last"
) -> dict[str, np.ndarray]:
    """Activations by layer of uint8 images [H, W, C] that the run's evaluation view has cut."""
    parts = list(batches(run, views, layers, step))
    return {name: joined(name, [part[name] for part in parts]) for name in parts[0]}


def batches(
    run: "Run", views: Sequence[np.ndarray], layers: Iterable[str] | str, step: int | str
) -> Iterator[dict[str, np.ndarray]]:
    """The same batch by batch."""
    if not len(views):
        raise UserError("no images to look at")
    model, variables = activations.each_block(run.model, run.variables(step))
    wanted = activations.chosen(activations.shapes(model, views[0].shape), layers)
    how = (model, wanted, run.matmul_precision, variables)
    for batch in run.batches(views, batch_size(views[0].shape)):
        with pinned_jax():
            found = jax.device_get(_activations(*how, *batch))
        yield {name: found[name] for name in wanted}


def layers(run: "Run") -> dict[str, tuple[int, ...]]:
    """The shape of every activation of one of the run's images, by name in the network's order."""
    model, _ = activations.each_block(run.model, {})
    return activations.shapes(model, tuple(run.image_shape))


def in_order(run: "Run", by_layer: Mapping[str, Any]) -> dict[str, Any]:
    """What is known by layer in the network's order; auxiliary heads are the last."""
    return {name: by_layer[name] for name in layers(run) if name in by_layer} | dict(by_layer)


def arrays(
    run: "Run", step: int | str, kinds: Sequence[str] = ("params",)
) -> dict[str, dict[str, np.ndarray]]:
    """A checkpoint's arrays by layer and name, "kernel"; each block of long stages has its own.

    Args:
      kinds: of variables, "params" and "batch_stats".
    """
    variables = unrolled(run.variables(step))
    found: dict[str, dict[str, np.ndarray]] = {}
    for kind in kinds:
        for path, array in flatten_dict(variables[kind]).items():
            found.setdefault("/".join(path[:-1]), {})[path[-1]] = np.asarray(array)
    return in_order(run, found)


def joined(name: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    """The activations of all images; raises `UserError` for maps of several sizes."""
    if len({part.shape[1:] for part in parts}) > 1:
        sizes = sorted({f"{part.shape[1]}x{part.shape[2]}" for part in parts})
        raise UserError(f"the images have several sizes, and {name} maps of {' and '.join(sizes)}")
    return np.concatenate(parts)


def batch_size(shape: tuple[int, ...]) -> int:
    """How many images of a shape [H, W, C] are looked at together."""
    return max(1, PIXELS // (shape[0] * shape[1]))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _activations(model, wanted, matmul, variables, preprocessing, images):
    with jax.default_matmul_precision(matmul):
        return activations.apply(model, variables, preprocessing(images), wanted)[1]


def traced(
    run: "Run",
    views: Sequence[np.ndarray],
    layers: Iterable[str] | str,
    classes: Sequence[int] | None = None,
    *,
    variables: Any,
    rule: str = "plain",
) -> Traced:
    """Activations, and the gradients of one logit of each image to them.

    Args:
      views: uint8 or float [H, W, C], pixel values 0-255, which the evaluation view has cut.
      layers: as in `Run.features`, without the embedding; "image" is the images themselves.
      classes: whose logit, of each image; by default the likeliest.
      variables: from `run.variables`.
      rule: of the ReLUs, "plain" or "guided", see `relus.guided_relu`.
    """
    if not len(views):
        raise UserError("no images to look at")
    model, variables = activations.each_block(run.model, variables)
    known = activations.shapes(model, views[0].shape)
    known = [IMAGE, *(name for name in known if name != activations.EMBEDDING)]
    wanted = activations.chosen(known, layers)
    chosen = np.full(len(views), -1) if classes is None else checked(run, views, classes)
    how, parts, first = (model, wanted, run.matmul_precision, rule, variables), [], 0
    with pinned_jax():
        for preprocessing, images in run.batches(views, batch_size(views[0].shape)):
            own = chosen[first : first + len(images)]
            parts.append(jax.device_get(_traced(*how, preprocessing, images, own)))
            first += len(images)
    return Traced(*jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts))


def checked(run: "Run", views: Sequence[Any], classes: Sequence[int]) -> np.ndarray:
    """The classes as int32; raises `UserError` unless each image has one that exists."""
    found, count = np.asarray(classes), len(run.class_names)
    if found.shape != (len(views),) or found.dtype.kind not in "iu":
        raise UserError(f"classes are whole numbers, one for each of {len(views)} images")
    if found.min() < 0 or found.max() >= count:
        raise UserError(f"a class of {found.min()} to {found.max()}; the run has 0 to {count - 1}")
    return found.astype(np.int32)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _traced(model, wanted, matmul, rule, variables, preprocessing, images, classes):
    inner = tuple(name for name in wanted if name != IMAGE)

    def forward(pixels, changes):
        x = preprocessing(pixels)
        return activations.apply(model, variables, x, inner, changes=changes, relu=RULES[rule])

    def objective(pixels, changes):
        logits, found = forward(pixels, changes)
        places = jnp.where(classes < 0, logits.argmax(-1), classes)
        return jnp.take_along_axis(logits, places[:, None], -1).sum(), (logits, found)

    with jax.default_matmul_precision(matmul):
        pixels = images.astype(jnp.float32)
        _, shapes = jax.eval_shape(forward, pixels, {})
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        gradients, (logits, found) = jax.grad(objective, (0, 1), has_aux=True)(pixels, zeros)
    if IMAGE in wanted:
        found, gradients = found | {IMAGE: pixels}, (None, gradients[1] | {IMAGE: gradients[0]})
    return logits, found, gradients[1]
