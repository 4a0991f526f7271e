"""`--grid model.width=1,2,4`: every combination of values of config fields, as a table."""

import itertools
import re
from collections.abc import Sequence

from cnn_jax import config as configs
from cnn_jax.errors import UserError
from cnn_jax.sweeps.tables import Row, Table


def table(grids: Sequence[str], name: str, variant: str) -> Table:
    """A table with a row for each combination of values.

    Args:
      grids: `field=value,value`, one or more.
      name: of the experiment, for the title.
      variant: of the experiment, for every row.

    Raises:
      UserError: a grid that cannot be read, or a field or a value that is given twice.
    """
    axes = dict(axis(grid) for grid in grids)
    if len(axes) < len(grids):
        raise UserError("--grid names the same field twice; give all its values at once", 2)
    last = [field.rpartition(".")[2] for field in axes]
    short = last if len(set(last)) == len(last) else list(axes)

    def rows():
        for values in itertools.product(*axes.values()):
            words = (f"{field}={value}" for field, value in zip(short, values, strict=True))
            yield Row(" ".join(words), variant, dict(zip(axes, values, strict=True)))

    fields = list(axes)
    return Table(
        title=f"{name}: {', '.join(fields)}",
        protocol="the config's own evaluation",
        statistic="mean",
        rows=rows,
        axis=fields[0] if len(fields) == 1 else None,
    )


def axis(grid: str) -> tuple[str, list[str]]:
    """The field and the texts of its values: `model.block=B(3,3),B(3,1)` has two values."""
    field, text = configs.split_override(grid)
    values = split(text)
    if len(set(values)) < len(values) or "" in values:
        raise UserError(f"--grid {grid}: write field=value,value with different values", 2)
    return field, values


def split(text: str) -> list[str]:
    """Splits a text at the commas outside of brackets.

    >>> split("B(3,3),B(3,1)")
    ['B(3,3)', 'B(3,1)']
    """
    parts, depth = [""], 0
    for piece in re.split(r"([,()\[\]])", text):
        depth += (piece in tuple("([")) - (piece in tuple(")]"))
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts
