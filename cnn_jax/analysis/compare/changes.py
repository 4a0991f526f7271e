"""By how much the parameters of each layer differ: two checkpoints of a run, or two runs."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cnn_jax.errors import UserError
from cnn_jax.runs import features

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.runs import Run


def changes(
    first: "Run", second: "Run", *, steps: tuple[int | str, int | str] = ("last", "last")
) -> pd.DataFrame:
    """A row for each layer that both networks have, with all its parameters together.

    Returns:
      By the layer's path, in the order of the first network: `parameters`; `changed`, the fraction
      of them that differ; `norm`, of the first network's, and that of the difference, `change`;
      `relative`, their quotient; `cosine`, of the angle between both. A quotient of zeros is NaN.

    Raises:
      UserError: no layer has the same shape in both.
    """
    pairs = ((first, steps[0]), (second, steps[1]))
    ours, theirs = (features.arrays(run, step) for run, step in pairs)
    rows = {}
    for name, parts in ours.items():
        others = theirs.get(name, {})
        if {k: v.shape for k, v in parts.items()} != {k: v.shape for k, v in others.items()}:
            continue
        a, b = (np.concatenate([own[k].ravel() for k in parts]) for own in (parts, others))
        rows[name] = compared(a.astype(np.float64), b.astype(np.float64))
    if not rows:
        raise UserError(f"{first.path} and {second.path} share no layer")
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")


def compared(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """The numbers of one layer, see `changes`."""
    norm, other, change = (float(np.linalg.norm(x)) for x in (a, b, b - a))
    return {
        "parameters": a.size,
        "changed": float((a != b).mean()),
        "norm": norm,
        "change": change,
        "relative": change / norm if norm else np.nan,
        "cosine": float(a @ b) / (norm * other) if norm * other else np.nan,
    }


def draw(axes: "Axes", found: pd.DataFrame, of: str = "relative") -> "Axes":
    """Draws a column by layer, from the input on."""
    axes.barh(found.index, found[of], color="tab:blue")
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=6)
    axes.set_xlabel({"relative": "change, relative to the norm"}.get(of, of))
    axes.grid(axis="x", alpha=0.3)
    return axes
