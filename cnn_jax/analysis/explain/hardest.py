"""The examples that a network gets most wrong, and those of which it is least sure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnn_jax.analysis.explain import pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.analysis.explain.answers import Answers


def worst(answers: "Answers", count: int = 16) -> np.ndarray:
    """The places among the answers of the largest cross entropies, largest first.

    Wrong labels are found so (Northcutt et al. 2021, arXiv:2103.14749).
    """
    return np.argsort(-answers.losses, kind="stable")[:count]


def least_sure(answers: "Answers", count: int = 16) -> np.ndarray:
    """The places of the smallest margins between the two likeliest classes, smallest first.

    Scheffer et al. (2001), "Active hidden Markov models for information extraction".
    """
    likeliest = np.sort(answers.probabilities, 1)[:, -2:]
    return np.argsort(likeliest[:, 1] - likeliest[:, 0], kind="stable")[:count]


def draw(axes: "Axes", answers: "Answers", places: Sequence[int], columns: int = 8) -> "Axes":
    """Draws examples with their true classes, and what they were taken for."""
    images = [answers.view(i) for i in places]
    return pictures.draw_images(axes, images, [answers.text(i) for i in places], columns)
