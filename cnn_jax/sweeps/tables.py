"""The tables that a recipe reproduces: `TABLES = {"table_2": Table(...)}` in its file."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, Any] = MappingProxyType({})
Protocols = Mapping[str, Mapping[str, Any]]  # by the name that metrics have: the whole protocol


class Row(NamedTuple):
    """A row of a table: the run behind it, and the paper's numbers.

    `published` has them by metric as printed, errors in %: {"test/top1_error": 4.53}. A text is a
    claim: ">20" where the paper prints "fail", for an error above 20 %.
    """

    name: str  # as printed; the folder of its runs is named after it
    variant: str = ""  # of the recipe's get_config
    overrides: Mapping[str, Any] = NOTHING  # dotted fields of the config: {"model.width": 4}
    published: Mapping[str, float | str] = NOTHING
    runs: int | None = None  # where not as many as the table says
    protocols: Protocols | None = None  # where not those of the table


class Table(NamedTuple):
    """A table or figure of a paper.

    `protocols` says how each metric is measured that does not come from the config's own
    evaluation: {"ten_crop": {"protocol": "ten_crop", "crop": 224, "resize": 256, ...}}, with every
    setting of `evaluation.protocols`. Only what was measured so is set against the paper's number.
    """

    title: str  # "Zagoruyko & Komodakis (2016), Table 2: types of blocks, CIFAR-10"
    protocol: str  # of the measurement, for people: "error of the last epoch, median of five runs"
    statistic: str  # over several seeds, as the paper prints it: "median", "mean" or "best"
    rows: Callable[[], Iterator[Row]]
    axis: str | None = None  # the config field on the figure's x axis; None: the rows side by side
    # A smaller difference counts as reproduced, in the unit of the printed numbers; by the end of
    # the metric's name, where metrics differ.
    tolerance: float | Mapping[str, float] = 0.5
    runs: int = 1  # behind each of the paper's numbers
    protocols: Protocols = NOTHING
    full: bool = True  # the rows are the paper's recipe in full; False: shortened, or ours
    command: str = "train"  # of launch.py, which makes a run
    note: str = ""  # what is to be known beside the numbers


def errors(row: Mapping[str, Any], protocol: str = "test") -> dict[str, Any]:
    """The errors of a printed row, by metric: its `top1` and `top5`, or 100 less its accuracies."""
    numbers = {}
    for k in ("top1", "top5"):
        if row.get(k) is not None:
            numbers[f"{protocol}/{k}_error"] = row[k]
        elif row.get(f"{k}_accuracy") is not None:
            numbers[f"{protocol}/{k}_error"] = round(100 - row[f"{k}_accuracy"], 3)
    return numbers


def top1(error: float | str) -> dict[str, float | str]:
    """A top-1 test error in %, or a claim, by metric."""
    return errors({"top1": error})
