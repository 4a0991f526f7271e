"""Our results beside the paper's: a line for each row of a table and each metric."""

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cnn_jax.analysis.run_records import Record
from cnn_jax.runs import results

STATISTICS = {"mean": statistics.fmean, "median": statistics.median, "best": min}
REPRODUCED, ABOVE, BELOW, WITHIN = "reproduced", "above", "below", "within tolerance"
CONFIRMED, REFUTED = "confirmed", "refuted"  # of a claim, ">20"
OTHER, MISSING, UNPUBLISHED = "another recipe", "no result", "not in the paper"


class Line(NamedTuple):
    """What the runs of a row gave in one metric; errors in %."""

    row: str
    metric: str  # "test/top1_error"
    paper: float | str | None  # as printed; a text is a claim, ">20"
    values: tuple[float, ...]  # of the runs that are done, by seed
    ours: float | None  # their mean, median or best, as the table says
    lost: str  # "1 diverged, 2 unfinished"
    epochs: float  # that the longest run has trained
    deviations: tuple[str, ...]  # from the paper's recipe; empty where it was followed
    is_full: bool  # whether the row's own recipe is the paper's, and not a shortened one
    runs: int  # behind the paper's number
    verdict: str

    @property
    def difference(self) -> float | None:
        """Our number minus the paper's; None where they are not by the same recipe."""
        if self.deviations or not self.is_full or self.ours is None:
            return None
        return self.ours - self.paper if isinstance(self.paper, int | float) else None

    @property
    def standard_error(self) -> float | None:
        """Of the mean of our runs; None of a single one."""
        if len(self.values) < 2:
            return None
        return statistics.stdev(self.values) / math.sqrt(len(self.values))


def tables(records: Sequence[Record]) -> Iterator[tuple[dict[str, Any], list[Record]]]:
    """Groups records by table; yields the facts of each table and its records.

    The facts are those of the records' "recipe", and "commands": all that made runs of the table,
    such as the paper's recipe and a shortened one.
    """
    titles = dict.fromkeys(record["recipe"]["title"] for record in records)
    for title in titles:
        own = [record for record in records if record["recipe"]["title"] == title]
        commands = dict.fromkeys(record["recipe"]["command"] for record in own)
        yield own[0]["recipe"] | {"commands": list(filter(None, commands))}, own


def lines(records: Sequence[Record]) -> list[Line]:
    """The lines of one table; runs of a row with different deviations get lines of their own."""
    found = []
    keys = dict.fromkeys(row_and_deviations(record) for record in records)
    for key in keys:
        own = [record for record in records if row_and_deviations(record) == key]
        metrics = own[0]["recipe"]["published"] or {default_metric(records): None}
        found += [line(own, metric, printed) for metric, printed in metrics.items()]
    return found


def row_and_deviations(record: Record) -> tuple[str, tuple[str, ...]]:
    """What the runs of a line have in common."""
    return record["recipe"]["row"], tuple(record["recipe"]["deviations"])


def line(records: Sequence[Record], metric: str, paper: float | None) -> Line:
    """The line of some runs of a row; `paper` is the published number."""
    recipe = records[0]["recipe"]
    done = [record for record in records if record["status"] == "done"]
    pairs = ((record["config"]["seed"], value(record, metric)) for record in done)
    values = tuple(number for _, number in sorted(pairs) if number is not None)
    ours = STATISTICS[recipe["statistic"]](values) if values else None
    lost = [
        f"{count} {what}"
        for what, count in {
            "diverged": sum(record["status"] == "diverged" for record in records),
            "unfinished": sum(record["status"] not in ("done", "diverged") for record in records),
            "without it": len(done) - len(values),
        }.items()
        if count
    ]
    row, deviations = row_and_deviations(records[0])
    epochs = max(record["summary"].get("train", {"epoch": 0})["epoch"] for record in records)
    is_followed = recipe["full"] and not deviations
    judged = verdict(
        ours, paper, tolerance(recipe, metric), is_followed, len(values), recipe["runs"]
    )
    about = (row, metric, paper, values, ours, ", ".join(lost), epochs, deviations)
    return Line(*about, recipe["full"], recipe["runs"], judged)


def tolerance(recipe: Mapping[str, Any], metric: str) -> float:
    """Of a metric: the table's, or where it has several, that of the longest end of the name."""
    found = recipe["tolerance"]
    if not isinstance(found, Mapping):
        return found
    return found[max((end for end in found if metric.endswith(end)), key=len)]


def verdict(
    ours: float | None,
    paper: float | str | None,
    tolerance: float,
    is_followed: bool,
    n: int,
    runs: int,
) -> str:
    """Whether our number equals the paper's, or its claim holds.

    A number of another recipe is not compared, and fewer runs than the paper's reproduce nothing.
    """
    if ours is None:
        return MISSING
    if paper is None:
        return UNPUBLISHED
    if not is_followed:
        return OTHER
    if isinstance(paper, str):
        found = CONFIRMED if ours > float(paper.removeprefix(">")) else REFUTED
    elif abs(ours - paper) <= tolerance + 1e-9:
        found = REPRODUCED if n >= runs else WITHIN
    else:
        found = ABOVE if ours > paper else BELOW
    return found if n >= runs else f"{found}, {n} of {runs} runs"


def value(record: Record, metric: str) -> float | None:
    """A number of a record, errors in %; None where the run lacks it.

    Args:
      metric: "test/top1_error" at the last step, "best/test/top1_error" at the step of the lowest
        validation error, "ten_crop/top1_error" by a protocol that the row names, or what was
        measured besides: "file/rate".
    """
    *where, name = metric.split("/")
    if metric in record["measurements"]:
        rows = [{name: record["measurements"][metric]}]
    elif where[0] == "best":
        chosen = [row for row in record["evaluations"] if row["split"] == "validation"]
        step = min(chosen, key=lambda row: row["top1_error"])["step"] if chosen else None
        rows = [r for r in record["evaluations"] if (r["split"], r["step"]) == (where[1], step)]
    elif where[0] in record["summary"]:
        rows = [record["summary"][where[0]]]
    else:
        rows = evaluated(record, where[0])
    if not rows or name not in rows[-1]:
        return None
    return rows[-1][name] * (100 if name.endswith("_error") else 1)


def evaluated(record: Record, name: str) -> list[dict[str, Any]]:
    """The result of `launch.py eval` for the final network by the row's protocol of this name."""
    protocol = record["recipe"]["protocols"].get(name)
    if protocol is None:
        return []
    weights = record["config"]["evaluation"]["weights"]
    found = results.of_last_step(record["protocols"], protocol, record["summary"], weights)
    return [found] if found else []


def default_metric(records: Sequence[Record]) -> str:
    """The metric of a table without published numbers."""
    has_test = any("test" in record["summary"] for record in records)
    return "test/top1_error" if has_test else "validation/top1_error"


def recipe_text(line: Line, limit: int = 3) -> str:
    """The first `limit` deviations of a line, or "in full" where it has none."""
    if not line.deviations:
        return "in full" if line.is_full else "shortened, or ours"
    more = len(line.deviations) - limit
    texts = itertools.islice(line.deviations, limit)
    return "; ".join(texts) + (f"; and {more} more" if more > 0 else "")
