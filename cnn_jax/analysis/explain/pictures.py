"""Images and heat maps on axes."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRAY = 255  # between the images of a mosaic
COLORS = "inferno"
LETTERS, LINE = 16, 0.16  # of a text below an image: in a line, and its height, of a width of 1


def rgb(image: np.ndarray) -> np.ndarray:
    """An image [H, W, 1 or 3] as [H, W, 3]."""
    return np.broadcast_to(image, (*image.shape[:2], 3))


def resized(maps: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Maps [B, h, w] at another height and width, bilinear."""
    return np.asarray(jax.image.resize(maps, (len(maps), *size), "linear"))


def draw_heat(axes: "Axes", image: np.ndarray, heat: np.ndarray, alpha: float = 0.5) -> "Axes":
    """Draws a heat map [h, w], from 0 to its maximum, over an image uint8 [H, W, C]."""
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(rgb(image))
    top = heat.max() or 1.0
    shown = {"cmap": COLORS, "vmin": 0, "vmax": top, "interpolation": "bilinear"}
    axes.imshow(heat, alpha=alpha, extent=extent, **shown)
    axes.set_axis_off()
    return axes


def draw_signed(axes: "Axes", values: np.ndarray) -> "Axes":
    """Draws what has both signs [H, W, C], such as a gradient, as an image: zero is gray."""
    limit = np.percentile(np.abs(values), 99.5) or 1.0
    axes.imshow(rgb(np.clip(values / limit, -1, 1) / 2 + 0.5))
    axes.set_axis_off()
    return axes


def mosaic(images: Sequence[np.ndarray], columns: int, gap: int = 1) -> np.ndarray:
    """Images [H, W, C] of one size side by side, in rows, uint8 [..., 3]."""
    height, width = images[0].shape[:2]
    rows = math.ceil(len(images) / columns)
    tall, wide = height + gap, width + gap
    canvas = np.full((rows * tall - gap, columns * wide - gap, 3), GRAY, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * tall, i % columns * wide
        canvas[top : top + height, left : left + width] = image
    return canvas


def draw_images(
    axes: "Axes", images: Sequence[np.ndarray], texts: Sequence[str], columns: int
) -> "Axes":
    """Draws images [H, W, C] in rows, of equal width, each with a text of a few lines below it."""
    cut = [textwrap.fill(text, LETTERS, max_lines=2) for text in texts]
    lines = max(text.count("\n") + 1 for text in cut)
    tall = max(image.shape[0] / image.shape[1] for image in images)
    height, columns = tall + LINE * (lines + 0.5), min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    axes.set(xlim=(0, 1.1 * columns), ylim=(rows * height, 0), aspect="equal")
    axes.set_axis_off()
    box, points = axes.get_position(), 72 * axes.figure.get_size_inches()
    width = min(box.width * points[0] / (1.1 * columns), box.height * points[1] / (rows * height))
    for i, (image, text) in enumerate(zip(images, cut, strict=True)):
        left, top = i % columns * 1.1, i // columns * height
        bottom = top + image.shape[0] / image.shape[1]
        axes.imshow(rgb(image), extent=(left, left + 1, bottom, top), interpolation="nearest")
        place = (left + 0.5, bottom + LINE / 4)
        axes.text(*place, text, ha="center", va="top", fontsize=0.75 * LINE * width)
    axes.set(xlim=(0, 1.1 * columns), ylim=(rows * height, 0), aspect="equal")
    return axes
