"""On which images networks say the same, and whether they err on the same ones."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cnn_jax.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.analysis.explain.answers import Answers


def agreement(answers: Mapping[str, "Answers"]) -> pd.DataFrame:
    """A row for each pair of networks.

    Args:
      answers: to the same images, by the name of the network: `answers.of_split(run)` of each.

    Returns:
      `first` and `second`; the fractions `agree` (of all examples, they say the same class),
      `both_wrong` (of all) and `same_mistake` (of those, they say the same class); and
      `error_consistency`, which is 1 where they err on the same examples, and 0 where on as many
      of them as by chance: Geirhos et al. (2020), arXiv:2006.16736, section 2.

    Raises:
      UserError: fewer than two networks, or other images.
    """
    if len(answers) < 2:
        raise UserError("agreement is of two networks or more")
    rows = []
    for (first, one), (second, other) in itertools.combinations(answers.items(), 2):
        examples = [(own.predictions.index, own.predictions.labels) for own in (one, other)]
        if not all(map(np.array_equal, *examples)):
            raise UserError(f"{first} and {second} saw other images")
        said, wrong = [own.predicted for own in (one, other)], []
        wrong = [own != one.predictions.labels for own in said]
        both, same = wrong[0] & wrong[1], said[0] == said[1]
        row = {"first": first, "second": second, "agree": same.mean(), "both_wrong": both.mean()}
        row["same_mistake"] = same[both].mean() if both.any() else np.nan
        rows.append(row | {"error_consistency": kappa(*wrong)})
    return pd.DataFrame(rows)


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa of two bool arrays; NaN where both are alike by chance already."""
    p, q = first.mean(), second.mean()
    chance = p * q + (1 - p) * (1 - q)
    return float(((first == second).mean() - chance) / (1 - chance)) if chance < 1 else np.nan


def draw(axes: "Axes", found: pd.DataFrame, of: str = "agree") -> "Axes":
    """Draws a column of the pairs as a matrix of the networks."""
    names = list(dict.fromkeys([*found["first"], *found["second"]]))
    matrix = np.eye(len(names))
    if of in ("both_wrong", "same_mistake"):  # of a network with itself it says nothing
        np.fill_diagonal(matrix, np.nan)
    for row in found.itertuples():
        i, j = names.index(row.first), names.index(row.second)
        matrix[i, j] = matrix[j, i] = getattr(row, of)
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    for (i, j), value in np.ndenumerate(matrix):
        color = "white" if value > 0.5 else "black"
        axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=color, fontsize=7)
    axes.set_title(of.replace("_", " "), fontsize="medium")
    return axes
