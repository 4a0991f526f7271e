"""The paper's figure, redrawn with our points: every run, and the statistic of the table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cnn_jax.analysis.comparison import Line
from cnn_jax.analysis.records import Record
from cnn_jax.config import flatten

PAPER, OURS = "black", "tab:red"


def draw(
    facts: dict[str, Any], lines: Sequence[Line], records: Sequence[Record], path: Path
) -> None:
    """One picture for each metric, side by side, into a PNG file."""
    metrics = list(dict.fromkeys(line.metric for line in lines))
    places, ticks, is_scale = positions(facts["axis"], lines, records)
    width = max(5.0, 0.6 * len(ticks) + 2.0)
    figure = Figure(figsize=(width * len(metrics), 4.5), layout="constrained")
    for axes, metric in zip(
        figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True
    ):
        plot(axes, [line for line in lines if line.metric == metric], places, is_scale)
        axes.set(ylabel=f"{metric}, %" if metric.endswith("_error") else metric)
        axes.set_xlabel(facts["axis"] or "")
        crowded = len(ticks) > 4 and facts["axis"] is None
        axes.set_xticks(list(ticks), list(ticks.values()), rotation=60 if crowded else 0)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    figure.suptitle(facts["title"], fontsize="medium", wrap=True)
    figure.savefig(path, dpi=120)


def plot(axes, lines: Sequence[Line], places: dict[str, float], is_scale: bool) -> None:
    """The points of one metric, joined along a scale; what is not the recipe in full is hollow."""
    styles = ("s--", "o-") if is_scale else ("s", "o")
    printed = sorted((places[line.row], line.paper) for line in lines if line.paper is not None)
    if printed:
        axes.plot(*zip(*printed, strict=True), styles[0], color=PAPER, mfc="none", label="paper")
    for departed in dict.fromkeys(bool(line.departures) for line in lines if line.values):
        own = [line for line in lines if bool(line.departures) == departed and line.values]
        ours = sorted((places[line.row], line.ours) for line in own)
        runs = [(places[line.row], value) for line in own for value in line.values]
        label = f"ours, {own[0].departures[0]}" if departed else "ours, the recipe in full"
        face = "white" if departed else OURS
        axes.plot(*zip(*ours, strict=True), styles[1], color=OURS, mfc=face, label=label)
        axes.plot(*zip(*runs, strict=True), ".", color=OURS, alpha=0.5)


def positions(
    axis: str | None, lines: Sequence[Line], records: Sequence[Record]
) -> tuple[dict[str, float], dict[float, str], bool]:
    """The place of each row on the x axis, what is written there, and whether it is a scale.

    By the value of the config field `axis` where it is a number and tells the rows apart, else
    one beside the other.
    """
    rows = list(dict.fromkeys(line.row for line in lines))
    values = {r["recipe"]["row"]: flatten(r["config"]).get(axis) for r in records}
    numbers = [values[row] for row in rows]
    if all(isinstance(n, int | float) for n in numbers) and len(set(numbers)) == len(rows):
        return values, {number: f"{number:g}" for number in numbers}, True
    return {row: i for i, row in enumerate(rows)}, dict(enumerate(rows)), False
