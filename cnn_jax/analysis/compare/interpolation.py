"""The loss on the line between two checkpoints: Goodfellow et al. (2015), arXiv:1412.6544.

Networks of two seeds mostly have a barrier between them. A part of it is none of the weights: the
batch statistics of the ends fit no network between them, see Jordan et al. (2023),
arXiv:2211.08403. They can be estimated anew at every point.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd

from cnn_jax import errors
from cnn_jax.evaluation import batch_stats, evaluate, target
from cnn_jax.runs.environment import pinned_jax

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.evaluation.predict import Examples
    from cnn_jax.runs import Run

BATCHES = 20  # of training images, for the batch statistics of a network
LABELS = {"loss": "cross entropy", "top1_error": "top-1 error, %"}


def interpolation(
    first: "Run",
    second: "Run",
    points: Sequence[float] = tuple(np.linspace(0, 1, 11)),
    *,
    steps: tuple[int | str, int | str] = ("last", "last"),
    splits: Sequence[str] = ("train", "test"),
    examples: int | None = None,
    reestimate: bool = False,
    data: str | None = None,
) -> pd.DataFrame:
    """A row for each split and point: `split`, `point`, `loss`, `top1_error` (0-1).

    Args:
      first, second: the runs of the two checkpoints, whose networks are alike; it may be one run.
      points: 0 is the first checkpoint and 1 the second; there are networks beyond them, too.
      examples: evaluates so many, evenly out of each split, instead of all.
      reestimate: the batch statistics, by twenty training batches at each point; otherwise they
        lie on the line, too.
      data: where the data is now; by default where the first run found it.
    """
    ends = [run.variables(step) for run, step in zip((first, second), steps, strict=True)]
    shapes = [jax.tree.map(np.shape, end) for end in ends]
    if shapes[0] != shapes[1]:
        raise errors.UserError(f"the networks of {first.path} and {second.path} are not alike")
    with pinned_jax():
        found = target.of_run(first, [f"data.path={data}"] if data else [])
        networks = {f"{point:g}": between(*ends, point) for point in points}
        if reestimate:
            for name, variables in networks.items():
                batches = found.training_batches(BATCHES)
                how = (found.model, variables, batches, found.jit())
                networks[name] = batch_stats.reestimate(*how)
        how = (found.protocol("center", {}), found.config.evaluation.batch_size)
        rows = []
        for split in splits:
            chosen = some(found.examples(split)[1], examples)
            numbers = evaluate.evaluate(found, networks, chosen, *how)[0]
            for point, own in zip(points, numbers.values(), strict=True):
                rows.append({"split": split, "point": point} | {n: own[n] for n in LABELS})
    return pd.DataFrame(rows)


def between(first: Any, second: Any, point: float) -> Any:
    """The network at a point of the line."""
    return jax.tree.map(lambda a, b: ((1 - point) * a + point * b).astype(a.dtype), first, second)


def some(examples: "Examples", count: int | None) -> "Examples":
    """`count` examples, evenly out of all: they may be sorted by class."""
    total = len(examples.labels)
    if count is None or count >= total:
        return examples
    if count < 1:
        raise errors.UserError(f"{count} examples: there is at least one")
    places = np.linspace(0, total - 1, count).round().astype(int)
    return examples._replace(
        labels=examples.labels[places],
        open=lambda i: examples.open(int(places[i])),
        where=lambda i: examples.where(int(places[i])),
    )


def draw(axes: "Axes", found: pd.DataFrame, of: str = "loss") -> "Axes":
    """Draws the loss, or the "top1_error", by the point on the line."""
    if of not in LABELS:
        raise errors.unknown("number", of, LABELS)
    for split, own in found.groupby("split", sort=False):
        values = own[of] * (100 if of.endswith("_error") else 1)
        axes.plot(own["point"], values, marker="o", markersize=3, label=split)
    axes.set(xlabel="from the first checkpoint (0) to the second (1)", ylabel=LABELS[of])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return axes
