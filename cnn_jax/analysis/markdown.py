"""The comparison as Markdown and CSV."""

import csv
import io
import statistics
from collections.abc import Sequence
from typing import Any

from cnn_jax.analysis.comparison import Line, recipe_text

COLUMNS = (
    *("row", "metric", "paper", "ours", "difference", "verdict"),
    *("n", "mean ± std", "best", "median", "epochs", "recipe"),
)


def cells(line: Line) -> list[str]:
    """The texts of a line, by `COLUMNS`."""
    values = line.values
    numbers = ["", "", ""]
    if values:
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        numbers = [f"{statistics.fmean(values):.2f}{spread}"]
        numbers += [f"{number:.2f}" for number in (min(values), statistics.median(values))]
    verdict = f"{line.verdict} ({line.lost})" if line.lost else line.verdict
    # A number of another recipe is not compared with the paper's.
    is_compared = line.difference is not None and not line.deviations
    return [
        line.row,
        line.metric,
        "" if line.paper is None else f"{line.paper:g}",
        "" if line.ours is None else f"{line.ours:.2f}",
        f"{line.difference:+.2f}" if is_compared else "",
        verdict,
        str(len(values)),
        *numbers,
        f"{line.epochs:.4g}",
        recipe_text(line),
    ]


def protocol(facts: dict[str, Any]) -> str:
    """A sentence on how the paper measured, and on how our number is compared."""
    return (
        f"Protocol: {facts['protocol']}. Ours: the {facts['statistic']} of n runs; errors in %, "
        f"within {facts['tolerance']:g} counts as reproduced."
    )


def markdown(facts: dict[str, Any], lines: Sequence[Line]) -> str:
    """The section of a table: heading, protocol, commands, lines."""
    table = grid([COLUMNS, *(cells(line) for line in lines)])
    commands = (f"`{command}`" for command in facts["commands"])
    return "\n\n".join([f"## {facts['title']}", protocol(facts), *commands, table]) + "\n"


def grid(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first row is its head."""
    head, *body = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows)
    rule = " | ".join("---" for _ in rows[0])
    return "\n".join(f"| {line} |" for line in (head, rule, *body))


def as_csv(tables: Sequence[tuple[dict[str, Any], Sequence[Line]]]) -> str:
    """All tables as CSV, with every number in full."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    header = ("table", "protocol", "row", "metric", "paper", "ours", "statistic", "difference")
    header += ("verdict", "n", "mean", "std", "best", "median", "values", "epochs", "recipe")
    writer.writerow((*header, "not done"))
    for facts, lines in tables:
        for line in lines:
            values = line.values
            several = [f(values) if values else None for f in (statistics.fmean, sample_std, min)]
            median = statistics.median(values) if values else None
            writer.writerow(
                [
                    *(facts["title"], facts["protocol"], line.row, line.metric, line.paper),
                    *(line.ours, facts["statistic"], line.difference, line.verdict, len(values)),
                    *(*several, median, " ".join(map(str, values)), line.epochs),
                    *(recipe_text(line, limit=100), line.lost),
                ]
            )
    return file.getvalue()


def sample_std(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample; None of a single value."""
    return statistics.stdev(values) if len(values) > 1 else None
