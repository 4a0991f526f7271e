"""Whether a network is right as often as it is sure: Guo et al. (2017), arXiv:1706.04599."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnn_jax.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.analysis.explain.answers import Answers


class Calibration(NamedTuple):
    """Examples in bins by the probability of their likeliest class; all are float64 [bins]."""

    error: float  # the expected calibration error (ECE), section 3
    edges: np.ndarray  # [bins + 1], of confidence; a bin has its upper edge
    count: np.ndarray  # of examples
    confidence: np.ndarray  # their mean; NaN in an empty bin
    accuracy: np.ndarray  # likewise


def calibration(answers: "Answers", bins: int = 15) -> Calibration:
    """Confidence and accuracy in bins of equal width, of which the paper has 15."""
    if bins < 1:
        raise UserError(f"{bins} bins: there is at least one")
    sure, edges = answers.probabilities.max(1), np.linspace(0, 1, bins + 1)
    right = answers.predicted == answers.predictions.labels
    own = np.clip(np.searchsorted(edges, sure, "left") - 1, 0, bins - 1)
    count, *sums = (np.bincount(own, weights, bins) for weights in (None, sure, right))
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (total / count for total in sums)
    error = np.abs(sums[0] - sums[1]).sum() / len(sure)
    return Calibration(float(error), edges, count, confidence, accuracy)


def draw(axes: "Axes", found: Calibration) -> "Axes":
    """Draws the reliability diagram: accuracy by confidence, and the gap to the diagonal."""
    middle, width = (found.edges[1:] + found.edges[:-1]) / 2, np.diff(found.edges)
    filled = found.count > 0
    bars, gap = (
        (middle[filled], found.accuracy[filled]),
        (found.confidence - found.accuracy)[filled],
    )
    axes.bar(*bars, width[filled], color="tab:blue", edgecolor="white", label="accuracy")
    hatched = {"color": "none", "edgecolor": "tab:red", "hatch": "//", "label": "gap"}
    axes.bar(bars[0], gap, width[filled], bottom=bars[1], **hatched)
    axes.plot([0, 1], [0, 1], "--", color="gray")
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(f"ECE {found.error:.2%}, {found.count.sum():,} examples", fontsize="medium")
    axes.legend(fontsize="small", loc="upper left")
    return axes
