"""The tables that a recipe reproduces: `TABLES = {"table_2": Table(...)}` in its file."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Row(NamedTuple):
    """A row of a table: the run behind it, and the paper's numbers."""

    name: str  # as printed; the folder of its runs is named after it
    variant: str = ""  # of the recipe's get_config
    overrides: Mapping[str, Any] = NOTHING  # dotted fields of the config: {"model.width": 4}
    published: Mapping[str, float] = (
        NOTHING  # by metric, as printed: {"test/top1_error": 4.53} in %
    )


class Table(NamedTuple):
    """A table or figure of a paper."""

    title: str  # "Zagoruyko & Komodakis (2016), Table 2: types of blocks, CIFAR-10"
    protocol: str  # of the measurement: "error of the last epoch, median of five runs"
    statistic: str  # over several seeds, as the paper prints it: "median", "mean" or "best"
    rows: Callable[[], Iterator[Row]]
    axis: str | None = None  # the config field on the figure's x axis; None: the rows side by side
    tolerance: float = (
        0.5  # in the unit of the printed numbers: a smaller difference counts as reproduced
    )


def errors(row: Mapping[str, Any], protocol: str = "test") -> dict[str, float]:
    """The errors of a printed row, by metric: its `top1` and `top5`, or 100 less its accuracies."""
    numbers = {}
    for k in ("top1", "top5"):
        if row.get(k) is not None:
            numbers[f"{protocol}/{k}_error"] = row[k]
        elif row.get(f"{k}_accuracy") is not None:
            numbers[f"{protocol}/{k}_error"] = round(100 - row[f"{k}_accuracy"], 3)
    return numbers


def top1(error: float) -> dict[str, float]:
    """A top-1 test error in %, by metric."""
    return errors({"top1": error})
