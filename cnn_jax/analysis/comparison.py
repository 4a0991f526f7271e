"""Rows of our results beside those of the paper: n, mean, deviation, best, median, verdict."""

import itertools
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from cnn_jax.analysis.run_records import Record

STATISTICS = {"mean": statistics.fmean, "median": statistics.median, "best": min}
WITHIN, ABOVE, BELOW = "within tolerance", "above", "below"
OTHER, MISSING, UNPUBLISHED = "different protocol", "no result", "not in the paper"


class Line(NamedTuple):
    """A row of the table in one of its metrics; errors in %."""

    row: str
    metric: str  # "test/top1_error"
    paper: float | None
    values: tuple[float, ...]  # of the runs that are done, by seed
    ours: float | None  # by the statistic of the table
    lost: str  # "1 diverged, 2 unfinished"
    epochs: float  # that the runs have trained
    departures: tuple[str, ...]  # from the paper's recipe; none: it is the paper's
    verdict: str

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if None in (self.ours, self.paper) else self.ours - self.paper


def tables(records: Sequence[Record]) -> Iterator[tuple[dict[str, Any], list[Record]]]:
    """The records by table, in the order in which they come; with the facts of the table.

    "commands" are all those that made runs of it, such as the paper's recipe and a shortened one.
    """
    titles = dict.fromkeys(record["recipe"]["title"] for record in records)
    for title in titles:
        own = [record for record in records if record["recipe"]["title"] == title]
        commands = dict.fromkeys(record["recipe"]["command"] for record in own)
        yield own[0]["recipe"] | {"commands": list(filter(None, commands))}, own


def lines(records: Sequence[Record]) -> list[Line]:
    """Of one table. Runs of a row that departed differently from the paper are kept apart."""
    found = []
    keys = dict.fromkeys((r["recipe"]["row"], tuple(r["recipe"]["departures"])) for r in records)
    for row, departed in keys:
        own = [
            record
            for record in records
            if (record["recipe"]["row"], tuple(record["recipe"]["departures"])) == (row, departed)
        ]
        metrics = own[0]["recipe"]["published"] or {default_metric(records): None}
        found += [line(own, metric, printed) for metric, printed in metrics.items()]
    return found


def line(records: Sequence[Record], metric: str, paper: float | None) -> Line:
    """What the runs of a row gave in one metric."""
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
    departed = tuple(recipe["departures"])
    epochs = max(record["summary"].get("train", {"epoch": 0})["epoch"] for record in records)
    judged = verdict(ours, paper, recipe["tolerance"], departed)
    return Line(
        recipe["row"], metric, paper, values, ours, ", ".join(lost), epochs, departed, judged
    )


def verdict(
    ours: float | None, paper: float | None, tolerance: float, departed: Sequence[str]
) -> str:
    """Whether the number is the paper's; one of another recipe is not compared."""
    if ours is None:
        return MISSING
    if paper is None:
        return UNPUBLISHED
    if departed:
        return OTHER
    if abs(ours - paper) <= tolerance + 1e-9:
        return WITHIN
    return ABOVE if ours > paper else BELOW


def value(record: Record, metric: str) -> float | None:
    """A number of a record, errors in %; None where the run does not have it.

    Args:
      metric: "test/top1_error" at the last step, "best/test/top1_error" at the step of the least
        validation error, "ten_crop/top1_error" by a protocol of `launch.py eval`.
    """
    *where, name = metric.split("/")
    if where[0] == "best":
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


def evaluated(record: Record, protocol: str) -> list[dict[str, Any]]:
    """What `launch.py eval` found by a protocol for what the run itself reports, the latest last.

    That is its last step with the weights that it evaluates, on the test images; without these, on
    those of validation. Another step, split or kind of weights is not the paper's number.
    """
    split = "test" if "test" in record["summary"] else "validation"
    return [
        result
        for result in record["protocols"]
        if (result["protocol"], result["split"]) == (protocol, split)
        and result.get("step") == record["summary"]["train"]["step"]
        and result["weights"] == record["config"]["evaluation"]["weights"]
    ]


def default_metric(records: Sequence[Record]) -> str:
    """Where the paper has no number."""
    has_test = any("test" in record["summary"] for record in records)
    return "test/top1_error" if has_test else "validation/top1_error"


def recipe_text(line: Line, limit: int = 3) -> str:
    """What stands beside the number: the recipe as it is, or in what the runs departed from it."""
    if not line.departures:
        return "in full"
    more = len(line.departures) - limit
    texts = itertools.islice(line.departures, limit)
    return "; ".join(texts) + (f"; and {more} more" if more > 0 else "")
