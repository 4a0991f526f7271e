"""The paper's figure, redrawn with our points: every run, and their mean, median or best."""

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from cnn_jax.analysis.comparison import Line
from cnn_jax.analysis.run_records import Record
from cnn_jax.config import flatten
from cnn_jax.errors import printable

PAPER, OURS = "black", ("tab:red", "tab:blue", "tab:green", "tab:orange", "tab:purple")
NAMES = {"top1_error": "top-1 error, %", "top5_error": "top-5 error, %"}


@rc_context({"text.parse_math": False})  # a $ in a name is one
def draw(
    facts: dict[str, Any], lines: Sequence[Line], records: Sequence[Record], path: Path
) -> None:
    """Draws a panel for each metric, side by side, into a PNG file."""
    metrics = list(dict.fromkeys(line.metric for line in lines))
    x_of, ticks, is_scale = positions(facts["axis"], lines, records)
    width = max(5.0, 0.6 * len(ticks) + 2.0)
    figure = Figure(figsize=(width * len(metrics), 4.5), layout="constrained")
    for axes, metric in zip(
        figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True
    ):
        own = [line for line in lines if line.metric == metric]
        plot(axes, own, x_of, is_scale, facts["statistic"])
        axes.set(xlabel=facts["axis"] or "row of the table", ylabel=metric_text(metric))
        crowded = len(ticks) > 4 and facts["axis"] is None
        axes.set_xticks(
            list(ticks), list(map(printable, ticks.values())), rotation=60 if crowded else 0
        )
        axes.margins(x=0.1)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    columns = int(12 * width * len(metrics))  # characters in a line
    figure.suptitle(textwrap.fill(printable(facts["title"]), columns), fontsize="medium")
    protocol = printable(f"Protocol: {facts['protocol']}")
    figure.supxlabel(textwrap.fill(protocol, columns), fontsize="small")
    figure.savefig(path, dpi=120)


def metric_text(metric: str) -> str:
    """The label of an axis: "test, top-1 error, %" for "test/top1_error"."""
    *where, name = metric.split("/")
    return ", ".join([*where, NAMES.get(name, name)]).replace("_", " ")


def plot(
    axes, lines: Sequence[Line], x_of: dict[str, float], is_scale: bool, statistic: str
) -> None:
    """Plots the points of a metric, joined along a scale; those of a changed recipe are hollow."""
    styles = ("s--", "o-") if is_scale else ("s", "o")
    numbers = [line for line in lines if isinstance(line.paper, int | float)]
    printed = sorted((x_of[line.row], line.paper) for line in numbers)
    if printed:
        axes.plot(*zip(*printed, strict=True), styles[0], color=PAPER, mfc="none", label="paper")
    shown = [line for line in lines if line.values]
    # The first deviation is the duration: runs of the same duration have the same color.
    durations = dict.fromkeys(line.deviations[:1] for line in shown)
    for duration, color in zip(durations, itertools.cycle(OURS), strict=False):
        own = [line for line in shown if line.deviations[:1] == duration]
        ours = sorted((x_of[line.row], line.ours) for line in own)
        runs = [(x_of[line.row], value) for line in own for value in line.values]
        counts = sorted({len(line.values) for line in own})
        n = f"{counts[0]} to {counts[-1]} runs" if len(counts) > 1 else f"n = {counts[0]}"
        label = f"ours, {statistic} of {n}, {duration[0] if duration else 'the recipe in full'}"
        face = "white" if duration else color
        axes.plot(*zip(*ours, strict=True), styles[1], color=color, mfc=face, label=label)
        if counts[-1] > 1:
            axes.plot(*zip(*runs, strict=True), ".", color=color, alpha=0.5, label="each run")


def positions(
    axis: str | None, lines: Sequence[Line], records: Sequence[Record]
) -> tuple[dict[str, float], dict[float, str], bool]:
    """The x of each row, the labels of the axis by x, and whether the axis is a scale.

    It is a scale of the config field `axis` where that is a different number in each row. Otherwise
    the rows stand side by side.
    """
    rows = list(dict.fromkeys(line.row for line in lines))
    values = {r["recipe"]["row"]: flatten(r["config"]).get(axis) for r in records}
    numbers = [values[row] for row in rows]
    if all(isinstance(n, int | float) for n in numbers) and len(set(numbers)) == len(rows):
        return values, {number: f"{number:g}" for number in numbers}, True
    return {row: i for i, row in enumerate(rows)}, dict(enumerate(rows)), False
