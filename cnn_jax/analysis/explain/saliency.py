"""Which pixels the logit of a class depends on: its gradient, as it is, smoothed, and guided."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnn_jax.analysis.explain import pictures
from cnn_jax.runs import features

if TYPE_CHECKING:
    from cnn_jax.runs import Run

draw = pictures.draw_heat
draw_guided = pictures.draw_signed


def saliency(
    run: "Run",
    images: Sequence[np.ndarray],
    classes: Sequence[int] | None = None,
    *,
    step: int | str = "last",
) -> np.ndarray:
    """The largest absolute derivative among the channels of each pixel, float32 [B, H, W].

    Simonyan et al. (2014), arXiv:1312.6034, section 3.1.

    Args:
      images: as `run.predict` takes them.
      classes: whose logit, of each image; by default the likeliest.
    """
    return np.abs(run.gradients(images, classes=classes, step=step)[features.IMAGE]).max(-1)


def smooth_grad(
    run: "Run",
    images: Sequence[np.ndarray],
    classes: Sequence[int] | None = None,
    *,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
    step: int | str = "last",
) -> np.ndarray:
    """The same of the mean gradient at noisy copies of each image, float32 [B, H, W].

    Smilkov et al. (2017), arXiv:1706.03825, section 3, which recommends 50 samples and 10 to 20 %.

    Args:
      noise: its standard deviation, as a fraction of the image's range of values.
    """
    views = run.views(images, "smooth_grad")
    if classes is None:
        classes = run.logits(views, step).argmax(-1)
    rng, variables, found = np.random.default_rng(seed), run.variables(step), []
    for view, label in zip(views, classes, strict=True):
        std = noise * (int(view.max()) - int(view.min()))
        noisy = view + std * rng.standard_normal((samples, *view.shape), np.float32)
        same = np.full(samples, label)
        traced = features.traced(run, list(noisy), features.IMAGE, same, variables=variables)
        found.append(traced.gradients[features.IMAGE].mean(0))
    return np.abs(np.stack(found)).max(-1)


def guided_backprop(
    run: "Run",
    images: Sequence[np.ndarray],
    classes: Sequence[int] | None = None,
    *,
    step: int | str = "last",
) -> np.ndarray:
    """The gradient to the pixels [B, H, W, C] where each ReLU passes positive gradients alone.

    Springenberg et al. (2015), arXiv:1412.6806, section 3.4.
    """
    views = run.views(images, "guided_backprop")
    how = {"variables": run.variables(step), "rule": "guided"}
    return features.traced(run, views, features.IMAGE, classes, **how).gradients[features.IMAGE]
