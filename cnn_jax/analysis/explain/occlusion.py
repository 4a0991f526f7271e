"""How much less likely a class becomes when a part of the image is covered.

Zeiler and Fergus (2014), arXiv:1311.2901, section 4.2.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

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
    views, found = run.views(images, "occlusion"), []
    before = np.asarray(jax.nn.softmax(run.logits(views, step)))
    labels = before.argmax(-1) if classes is None else np.asarray(classes)
    for view, own, label in zip(views, before, labels, strict=True):
        side = size or max(1, view.shape[0] // 4)
        if not 1 <= side <= min(view.shape[:2]):
            raise UserError(f"a square of {side} pixels on an image of {view.shape[:2]}")
        boxes = squares(view.shape[:2], side, stride or max(1, side // 2))
        covered = np.repeat(view[None], len(boxes), 0)
        for image, box in zip(covered, boxes, strict=True):
            image[box] = GRAY
        after = np.asarray(jax.nn.softmax(run.logits(list(covered), step)))[:, label]
        found.append(means(view.shape[:2], boxes, own[label] - after))
    return np.stack(found)


def squares(shape: tuple[int, int], side: int, stride: int) -> list[tuple[slice, slice]]:
    """Squares that cover an image: the last of each row and column ends at the border."""
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
