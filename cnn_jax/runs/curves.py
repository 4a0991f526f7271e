"""`curves.png`: loss and error over the epochs."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

COLORS = {"train": "tab:gray", "validation": "tab:blue", "test": "tab:red"}


def draw(history: pd.DataFrame, path: Path, title: str) -> None:
    """Draws the rows of `metrics.jsonl` into a PNG file."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for split, color in COLORS.items():
        rows = history[history.split == split]
        if rows.empty:
            continue
        marker = "o" if len(rows) == 1 else None
        axes[0].plot(rows.epoch, rows.loss, color=color, label=split, marker=marker)
        axes[1].plot(rows.epoch, rows.top1_error * 100, color=color, label=split, marker=marker)
    axes[0].set(xlabel="epoch", ylabel="cross entropy", yscale="log")
    axes[1].set(xlabel="epoch", ylabel="top-1 error, %", ylim=(0, None))
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[1].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
