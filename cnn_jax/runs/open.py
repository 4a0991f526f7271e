"""Runs, opened where they lie: one, or all below a folder."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_jax import config as configs
from cnn_jax.errors import UserError
from cnn_jax.files import DAMAGED
from cnn_jax.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd


def load_run(path: str | Path) -> Run:
    """Opens the run in a directory, or a network in one file; `UserError` where there is none."""
    if Path(path).is_file():
        from cnn_jax.runs import compressed

        return compressed.load(Path(path))
    return Run(path)


def load_runs(root: str | Path) -> "pd.DataFrame":
    """A row for each run below `root`: path, status, its settings, and its last numbers.

    Columns of settings are named like fields ("model.depth"), numbers like "test.top1_error". A run
    whose config is damaged is left out, with a warning.
    """
    import pandas as pd

    if not Path(root).is_dir():
        raise UserError(f"no folder {root}")
    rows = []
    for file in sorted(Path(root).rglob("config.json")):
        if file.parent.name == DAMAGED:
            continue
        run = Run(file.parent)
        try:
            settings = configs.flatten(run.config.to_dict())
        except UserError as error:
            warnings.warn(f"{error}; this run is left out", stacklevel=2)
            continue
        numbers = configs.flatten(run.summary)
        rows.append({"path": str(run.path), "status": run.status} | settings | numbers)
    return pd.DataFrame(rows)
