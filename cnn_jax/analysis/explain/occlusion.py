"""How much less likely a class becomes when a part of the image is covered.

Zeiler and Fergus (2014), arXiv:1311.2901, section 4.2.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from cnn_jax.analysis.explain import pictures
from cnn_jax.errors import UserError

if TYPE_CHECKING:
    from cnn_jax.runs import Run

GRAY = 128
draw = pictures.draw_heat


def occlusion(
    run: "Run",
    images: Sequence[np.ndarray],
    classes: Sequence[int] | None = None,
    *,
    size: int | None = None,
    stride: int | None = None,
    step: int | str = "last",
) -> np.ndarray:
    """By how much the probability of a class falls where a gray square covers a pixel, [B, H, W].

    It is the mean over all squares that cover the pixel; negative where the class becomes likelier.

    Args:
      images: as `run.predict` takes them.
      classes: of each image; by default the likeliest.
      size: side of the square in pixels of the view; by default a quarter of its height.
      stride: between squares; by default half of a square.
    """
    views = run.views(images, "occlusion")
    before = softmax(run.logits(views, step), -1)
    labels = before.argmax(-1) if classes is None else np.asarray(classes)
    boxes = [squares(view.shape[:2], size, stride) for view in views]
    covered = [cover(view, box) for view, own in zip(views, boxes, strict=True) for box in own]
    after = softmax(run.logits(covered, step), -1)
    parts = np.split(after, np.cumsum([len(own) for own in boxes])[:-1])
    of_each = zip(views, boxes, before, parts, labels, strict=True)
    return np.stack(
        [means(view.shape[:2], own, p[i] - part[:, i]) for view, own, p, part, i in of_each]
    )


def cover(view: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    """A copy of an image with a gray box."""
    covered = view.copy()
    covered[box] = GRAY
    return covered


def squares(
    shape: tuple[int, int], size: int | None, stride: int | None
) -> list[tuple[slice, slice]]:
    """Squares that cover an image: the last of each row and column ends at the border."""
    side = size or max(1, shape[0] // 4)
    if not 1 <= side <= min(shape):
        raise UserError(f"a square of {side} pixels on an image of {shape}")
    stride = stride or max(1, side // 2)
    rows, columns = (sorted({*range(0, n - side, stride), n - side}) for n in shape)
    return [(slice(y, y + side), slice(x, x + side)) for y in rows for x in columns]


def means(
    shape: tuple[int, int], boxes: Sequence[tuple[slice, slice]], values: np.ndarray
) -> np.ndarray:
    """At each pixel the mean of the values of the boxes that cover it, float32 [H, W]."""
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for box, value in zip(boxes, values, strict=True):
        total[box] += value
        count[box] += 1
    return total / np.maximum(count, 1)
