"""The comparison as Markdown and CSV."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cnn_jax.analysis.comparison import Line, recipe_text
from cnn_jax.errors import printable

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
    return [
        line.row,
        line.metric,
        printed(line.paper),
        "" if line.ours is None else f"{line.ours:.2f}",
        "" if line.difference is None else f"{line.difference:+.2f}",
        verdict,
        f"{len(values)} of {line.runs}" if line.runs > 1 else str(len(values)),
        *numbers,
        f"{line.epochs:.4g}",
        recipe_text(line),
    ]


def printed(paper: float | str | None) -> str:
    """A number of the paper, or its claim, as printed."""
    return "" if paper is None else paper if isinstance(paper, str) else f"{paper:,.10g}"


def protocol(facts: dict[str, Any]) -> str:
    """Sentences on how the paper measured, on how our number is compared, and the table's note."""
    several = f", the paper's of {facts['runs']}" if facts["runs"] > 1 else ""
    within = facts["tolerance"]
    if isinstance(within, Mapping):
        within = ", ".join(f"{limit:g} ({end or 'others'})" for end, limit in within.items())
    text = (
        f"Protocol: {facts['protocol']}. Ours: the {facts['statistic']} of n runs{several}; errors "
        f"in %, within {within} counts as reproduced."
    )
    return f"{text} {facts['note']}".strip()


def markdown(facts: dict[str, Any], lines: Sequence[Line]) -> str:
    """The section of a table: heading, protocol, commands, lines."""
    table = grid([COLUMNS, *(cells(line) for line in lines)])
    commands = (f"`{command}`" for command in facts["commands"])
    return (
        "\n\n".join([f"## {printable(facts['title'])}", protocol(facts), *commands, table]) + "\n"
    )


def grid(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first row is its head."""
    head, *body = (" | ".join(map(escaped, row)) for row in rows)
    rule = " | ".join("---" for _ in rows[0])
    return "\n".join(f"| {line} |" for line in (head, rule, *body))


def escaped(cell: str) -> str:
    """A cell that ends neither its column nor its line."""
    return printable(cell).replace("|", "\\|")


def as_csv(tables: Sequence[tuple[dict[str, Any], Sequence[Line]]]) -> str:
    """All tables as CSV, with every number in full, and each row in one line."""
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
            row = (
                *(facts["title"], facts["protocol"], line.row, line.metric, line.paper),
                *(line.ours, facts["statistic"], line.difference, line.verdict, len(values)),
                *(*several, median, " ".join(map(str, values)), line.epochs),
                *(recipe_text(line, limit=100), line.lost),
            )
            writer.writerow(printable(cell) if isinstance(cell, str) else cell for cell in row)
    return file.getvalue()


def sample_std(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample; None of a single value."""
    return statistics.stdev(values) if len(values) > 1 else None
