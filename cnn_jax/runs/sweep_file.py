"""`sweep.json` in the directory of a sweep: the table, its rows, and the config of each row."""

import json
from pathlib import Path
from typing import Any

from cnn_jax import old_names
from cnn_jax.errors import UserError

NAME = "sweep.json"


def read(directory: Path) -> dict[str, Any]:
    """What the file in the directory of a sweep says; raises `UserError` for a damaged one."""
    file = directory / NAME
    try:
        facts = old_names.table(json.loads(file.read_text()))
        for row in facts["rows"]:
            row["name"], row["folder"], row["published"]
            row["config"] = old_names.config(row["config"])
            row["paper"] = row["paper"] and old_names.config(row["paper"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file} is damaged ({type(error).__name__}: {error}): restore it from a copy, or "
            "choose another directory"
        ) from None
    return facts
