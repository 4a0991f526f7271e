"""Grad-CAM: which places of a map speak for a class.

Selvaraju et al. (2017), arXiv:1610.02391, equations 1 and 2; Grad-CAM++ is Chattopadhay et al.
(2018), arXiv:1710.11063, equations 10 and 19, with the exponential of the logit as the score.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnn_jax import errors
from cnn_jax.analysis.explain import pictures, saliency
from cnn_jax.models.inside import activations
from cnn_jax.runs import features

if TYPE_CHECKING:
    from cnn_jax.runs import Run

TINY = 1e-6  # keeps a quotient of zeros finite
draw = pictures.draw_heat
draw_guided = pictures.draw_signed


def weights_of_mean(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """The weight [B, C] of each channel in Grad-CAM."""
    del maps
    return gradients.mean((1, 2))


def weights_plus_plus(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """The weight [B, C] of each channel in Grad-CAM++."""
    cubes = gradients**3 * maps.sum((1, 2), keepdims=True)
    alpha = gradients**2 / (2 * gradients**2 + cubes + TINY)
    return (alpha * np.maximum(gradients, 0)).sum((1, 2))


METHODS = {"grad-cam": weights_of_mean, "grad-cam++": weights_plus_plus}


def grad_cam(
    run: "Run",
    images: Sequence[np.ndarray],
    classes: Sequence[int] | None = None,
    *,
    layer: str | None = None,
    method: str = "grad-cam",
    step: int | str = "last",
) -> np.ndarray:
    """The evidence for a class at each place of a layer's maps, float32 [B, h, w], at least 0.

    Args:
      images: as `run.predict` takes them.
      classes: of each image; by default the likeliest.
      layer: its name, see `run.features`; by default the last maps before the classifier.
      method: "grad-cam" or "grad-cam++".
    """
    if method not in METHODS:
        raise errors.unknown("method", method, METHODS)
    views = run.views(images, "grad_cam")
    if not views:
        raise errors.UserError("no images to look at")
    model, _ = activations.each_block(run.model, {})
    known = activations.shapes(model, views[0].shape)
    layer = activations.one(known, layer or activations.last_map(known))
    if len(known[layer]) != 3:
        raise errors.UserError(f"{layer} is no map: its result has {known[layer][-1]} numbers", 2)
    traced = features.traced(run, views, layer, classes, variables=run.variables(step))
    maps, gradients = traced.activations[layer], traced.gradients[layer]
    weights = METHODS[method](maps, gradients)
    return np.maximum(np.einsum("bhwc,bc->bhw", maps, weights), 0)


def guided_grad_cam(
    run: "Run",
    images: Sequence[np.ndarray],
    classes: Sequence[int] | None = None,
    *,
    layer: str | None = None,
    step: int | str = "last",
) -> np.ndarray:
    """Guided backpropagation times the resized Grad-CAM, [B, H, W, C] of the views.

    Section 3.2 of the paper: as fine as the former, and of one class as the latter.
    """
    heat = grad_cam(run, images, classes, layer=layer, step=step)
    guided = saliency.guided_backprop(run, images, classes, step=step)
    return guided * pictures.resized(heat, guided.shape[1:3])[..., None]
