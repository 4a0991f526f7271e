"""The statistics and parameters of the batch norms: Ioffe and Szegedy (2015), arXiv:1502.03167."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cnn_jax import errors
from cnn_jax.runs import features

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.runs import Run

# Running mean and variance; gamma and beta.
STATISTICS = ("mean", "var", "scale", "bias")


def batch_norms(run: "Run", step: int | str = "last") -> dict[str, dict[str, np.ndarray]]:
    """Of each batch norm the running "mean" and "var", and its "scale" and "bias", [channels].

    Raises `UserError` for a network without batch norm.
    """
    layers = features.arrays(run, step, ("batch_stats", "params")).items()
    found = {name: own for name, own in layers if "mean" in own}
    if not found:
        raise errors.UserError(f"{run.path} has no batch norm")
    return found


def draw(
    axes: "Axes", found: Mapping[str, Mapping[str, np.ndarray]], statistic: str = "scale"
) -> "Axes":
    """Draws a statistic by layer: the median channel, and the middle 50 and 90 % of them."""
    if statistic not in STATISTICS:
        raise errors.unknown("statistic", statistic, STATISTICS)
    own = {name: arrays[statistic] for name, arrays in found.items() if statistic in arrays}
    levels = np.array([np.percentile(array, (5, 25, 50, 75, 95)) for array in own.values()])
    names = list(own)
    for low, high, width in ((0, 4, 1), (1, 3, 4)):
        axes.hlines(names, levels[:, low], levels[:, high], color="tab:blue", linewidth=width)
    axes.plot(levels[:, 2], names, "o", color="white", markersize=3, mec="tab:blue")
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=6)
    axes.set_xlabel(statistic)
    axes.grid(alpha=0.3)
    return axes
