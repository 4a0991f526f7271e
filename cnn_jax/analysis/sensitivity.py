"""Accuracy against density, layer by layer (Han et al. 2015, arXiv:1506.02626, Figure 6)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from cnn_jax.compression import prune
from cnn_jax.data.dataset import Split
from cnn_jax.runs import Run

BATCH = 500


def scan(run: Run, examples: Split, densities: Sequence[float]) -> dict[str, list[float]]:
    """The accuracies (0-1) by layer, with that layer alone pruned to each density."""
    variables = run.variables()

    @jax.jit
    def count_right(params, images, labels):
        pruned = variables | {"params": params}
        logits = run.model.apply(pruned, run.preprocessing(images), train=False)
        return (logits.argmax(-1) == labels).sum()

    def accuracy(params):
        cuts = range(0, len(examples.labels), BATCH)
        parts = [(examples.images[i : i + BATCH], examples.labels[i : i + BATCH]) for i in cuts]
        return sum(int(count_right(params, *part)) for part in parts) / len(examples.labels)

    return prune.sensitivity_scan(accuracy, variables["params"], densities)


def draw(found: Mapping[str, Sequence[float]], densities: Sequence[float], path: Path) -> None:
    """Draws a curve for each layer into a PNG file."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for layer, accuracies in found.items():
        axes.plot(
            100 * np.asarray(densities), 100 * np.asarray(accuracies), marker=".", label=layer
        )
    axes.set(xlabel="density of the layer, %", ylabel="accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=1 + len(found) // 12)
    figure.savefig(path, dpi=120)
