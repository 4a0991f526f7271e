"""Curves of several runs in one figure: the mean over the seeds, and their spread."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.runs import Run, load_run, load_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Runs = Sequence[Run | str | Path]
AXES = {"epoch": "epoch", "step": "step", "seconds": "time, s"}
SAME_CURVE = re.compile(r"seed|data\.path|logging\..*")  # fields in which runs of a curve differ


def curves(
    runs: Mapping[str, Runs] | Runs | str | Path,
    of: str = "top1_error",
    split: str = "validation",
    smooth: float = 0.0,
) -> pd.DataFrame:
    """A row for each curve and step, of the runs that have come so far.

    Args:
      runs: curves by name; or runs, or a folder that has them: those that differ in nothing but
        their seed are one curve, which is named by the fields in which it differs from others.
      of: a column of `run.history`.
      smooth: the weight of the past, below 1, in the average of each run that takes its place.

    Returns:
      `curve`; `step`, and the means of `epoch` and `seconds`; `mean`, `std` (of a sample), `low`
      and `high` of the `n` runs.

    Raises:
      UserError: there are no runs, or one lacks the split or the number.
    """
    if not 0 <= smooth < 1:
        raise errors.UserError(f"smooth is {smooth}: from 0 to below 1")
    found = []
    for name, own in named(runs).items():
        parts = [points(run, of, split, smooth) for run in own]
        found.append(pd.concat(parts).assign(curve=name))
    return (
        pd.concat(found)
        .groupby(["curve", "step"], sort=False, as_index=False)
        .agg(
            epoch=("epoch", "mean"),
            seconds=("seconds", "mean"),
            **{name: (of, name) for name in ("mean", "std")},
            **{"low": (of, "min"), "high": (of, "max"), "n": (of, "count")},
        )
    )


def points(run: Run, of: str, split: str, smooth: float) -> pd.DataFrame:
    """The points of one run: step, epoch, seconds and the number."""
    history = run.history
    splits = list(history["split"].unique()) if len(history) else []
    if split not in splits:
        raise errors.unknown(f"split of {run.path}", split, splits)
    own = history[history["split"] == split].dropna(axis="columns", how="all")
    if of not in own:
        numbers = [name for name in own if own[name].dtype.kind == "f"]
        raise errors.unknown(f"number of the split {split} of {run.path}", of, numbers)
    own = own[list(dict.fromkeys(["step", "epoch", "seconds", of]))].copy()
    # Adjusted: the first values do not weigh more than others.
    own[of] = own[of].ewm(alpha=1 - smooth).mean()
    return own


def named(runs: Mapping[str, Runs] | Runs | str | Path) -> dict[str, list[Run]]:
    """The runs of each curve, by its name."""
    if isinstance(runs, Mapping):
        return {name: [opened(run) for run in own] for name, own in runs.items()}
    if isinstance(runs, str | Path):
        folder = load_runs(runs)
        runs = list(folder["path"]) if len(folder) else []
    if not len(runs):
        raise errors.UserError("there are no runs to compare")
    groups: dict[str, list[Run]] = {}
    settings: dict[str, dict] = {}
    for run in map(opened, runs):
        flat = configs.flatten(run.config.to_dict())
        own = {name: value for name, value in flat.items() if not SAME_CURVE.fullmatch(name)}
        key = repr(sorted(own.items()))
        groups.setdefault(key, []).append(run)
        settings[key] = own
    fields = dict.fromkeys(name for own in settings.values() for name in own)
    differing = [
        name for name in fields if len({repr(own.get(name)) for own in settings.values()}) > 1
    ]
    return {
        ", ".join(f"{name}={settings[key].get(name)}" for name in differing) or common(own): own
        for key, own in groups.items()
    }


def common(runs: Sequence[Run]) -> str:
    """The name of the only curve: that of its run, or of the folder of its runs."""
    path = runs[0].path.resolve()
    return path.name if len(runs) == 1 else path.parent.name


def opened(run: Run | str | Path) -> Run:
    """The run, of a run or its directory."""
    return load_run(run) if isinstance(run, str | Path) else run


def draw(axes: "Axes", found: pd.DataFrame, by: str = "epoch", spread: str = "std") -> "Axes":
    """Draws the mean of each curve, and a band around those of several runs; errors in %.

    Args:
      by: "epoch", "step" or "seconds".
      spread: "std" for a standard deviation to either side, or "range" for all of the runs.
    """
    if by not in AXES:
        raise errors.unknown("axis", by, AXES)
    if spread not in ("std", "range"):
        raise errors.unknown("spread", spread, ("std", "range"))
    for name, own in found.groupby("curve", sort=False):
        n = own["n"].max()
        label = f"{name} (n = {n})" if n > 1 else name
        (line,) = axes.plot(own[by], own["mean"], label=label, marker="o" if len(own) == 1 else "")
        ends = (own["low"], own["high"])
        if spread == "std":
            ends = (own["mean"] - own["std"], own["mean"] + own["std"])
        axes.fill_between(own[by], *ends, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel(AXES[by])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return axes
