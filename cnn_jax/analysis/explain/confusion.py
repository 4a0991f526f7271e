"""Which classes are taken for which others."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnn_jax.analysis.explain import pictures
from cnn_jax.evaluation import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.analysis.explain.answers import Answers

NAMED = 40  # classes; the names of more are not read


class Pair(NamedTuple):
    """Examples of one class that were taken for another."""

    label: int
    predicted: int
    examples: np.ndarray  # their places among the answers, the surest first


def confusion(answers: "Answers") -> np.ndarray:
    """How many examples of each class (row) were taken for each (column), int64 [C, C]."""
    return files.confusion(answers.predictions, len(answers.class_names))


def most_confused(answers: "Answers", count: int = 5) -> list[Pair]:
    """The classes that are taken for another most often, with the examples."""
    matrix = confusion(answers)
    np.fill_diagonal(matrix, 0)
    labels, predicted = answers.predictions.labels, answers.predicted
    surest = np.argsort(-answers.probabilities.max(1), kind="stable")
    pairs = []
    for place in np.argsort(-matrix, axis=None, kind="stable")[:count]:
        label, other = divmod(int(place), len(matrix))
        if matrix[label, other]:
            is_one = (labels[surest] == label) & (predicted[surest] == other)
            pairs.append(Pair(label, other, surest[is_one]))
    return pairs


def draw(axes: "Axes", matrix: np.ndarray, class_names: Sequence[str]) -> "Axes":
    """Draws a confusion matrix by the fraction of each row; few classes with names and counts."""
    fractions = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true class")
    if len(matrix) > NAMED:
        return axes
    places = range(len(matrix))
    axes.set_xticks(places, class_names, rotation=90, fontsize=7)
    axes.set_yticks(places, class_names, fontsize=7)
    for row, column in np.argwhere(matrix):
        color = "white" if fractions[row, column] > 0.5 else "black"
        text = f"{matrix[row, column]}"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=6)
    return axes


def draw_pairs(axes: "Axes", answers: "Answers", pairs: Sequence[Pair], columns: int = 6) -> "Axes":
    """Draws the surest examples of each pair, a row for each."""
    images, texts = [], []
    for pair in pairs:
        shown = [answers.view(i) for i in pair.examples[:columns]]
        blank = np.full_like(shown[0], 255)
        images += shown + [blank] * (columns - len(shown))
        names = [answers.class_names[i] for i in (pair.label, pair.predicted)]
        texts += [f"{len(pair.examples)} {names[0]} as {names[1]}", *[""] * (columns - 1)]
    return pictures.draw_images(axes, images, texts, columns)
