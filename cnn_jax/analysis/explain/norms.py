"""How large the weights of each layer are, and by how much training changes them."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cnn_jax.errors import UserError
from cnn_jax.runs import features

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.runs import Run


def kernels(run: "Run", step: int | str) -> dict[str, np.ndarray]:
    """The kernel of each layer, blocks of long stages by themselves."""
    layers = features.arrays(run, step).items()
    return {name: own["kernel"] for name, own in layers if "kernel" in own}


def weights(run: "Run") -> dict[str, np.ndarray]:
    """The L2 norm of each layer's kernel at each checkpoint of `run.steps`, by layer."""
    steps = [kernels(run, step) for step in run.steps]
    if not steps:
        raise UserError(f"{run.path} has no checkpoint yet")
    return {k: np.array([np.linalg.norm(step[k]) for step in steps]) for k in steps[0]}


def updates(run: "Run") -> dict[str, np.ndarray]:
    """The L2 norm of each change from checkpoint to checkpoint, relative to the kernel before.

    You et al. (2017), arXiv:1708.03888, Table 2, look at the ratio of weights and gradients so.
    """
    steps = [kernels(run, step) for step in run.steps]
    if len(steps) < 2:
        raise UserError(f"{run.path} has {len(steps)} checkpoint; an update is between two")
    pairs = list(itertools.pairwise(steps))
    return {
        k: np.array([np.linalg.norm(b[k] - a[k]) / np.linalg.norm(a[k]) for a, b in pairs])
        for k in steps[0]
    }


def draw(axes: "Axes", found: Mapping[str, np.ndarray], label: str = "norm") -> "Axes":
    """Draws the norms of the layers at the first and the last checkpoint, from the input on."""
    names = list(found)
    ends = {
        "first": [own[0] for own in found.values()],
        "last": [own[-1] for own in found.values()],
    }
    for (name, values), color in zip(ends.items(), ("tab:gray", "tab:blue"), strict=True):
        axes.plot(values, names, "o", color=color, markersize=4, label=f"{name} checkpoint")
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.tick_params(axis="y", labelsize=6)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return axes
