"""The tables that a recipe reproduces: `TABLES = {"table_2": Table(...)}` in its file."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Row(NamedTuple):
    """A row of the table: the run behind it, and what the paper says of it."""

    name: str  # as printed; the folder of the run is made of it
    variant: str = ""  # of the recipe's get_config
    overrides: Mapping[str, Any] = NOTHING  # dotted fields of the config, over the variant's
    published: Mapping[str, float] = NOTHING  # metric -> as printed: {"test/top1_error": 4.53} in %


class Table(NamedTuple):
    """A table or figure of a paper."""

    title: str  # "Zagoruyko & Komodakis (2016), Table 2: types of blocks, CIFAR-10"
    protocol: str  # what was measured, and on what: "error of the last epoch, median of five runs"
    statistic: str  # which of "median", "mean", "best" of several seeds the paper prints
    rows: Callable[[], Iterator[Row]]
    axis: str | None = None  # the config field on the figure's x axis; None: a bar for each row
    tolerance: float = 0.5  # around what is printed, in its unit: within it counts as reproduced


def errors(row: Mapping[str, Any], protocol: str = "test") -> dict[str, float]:
    """What a printed row publishes: its errors `top1` and `top5`, or 100 less its accuracies."""
    numbers = {}
    for k in ("top1", "top5"):
        if row.get(k) is not None:
            numbers[f"{protocol}/{k}_error"] = row[k]
        elif row.get(f"{k}_accuracy") is not None:
            numbers[f"{protocol}/{k}_error"] = round(100 - row[f"{k}_accuracy"], 3)
    return numbers


def top1(error: float) -> dict[str, float]:
    """What a row of one number publishes, a test error."""
    return errors({"top1": error})
