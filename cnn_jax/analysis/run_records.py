"""Runs as JSON values: from sweeps, single runs, and the registry of results.

A record is what `Run.record()` gives, with "recipe": the row of the table that the run belongs to,
the numbers that the paper prints there, and the run's deviations from the paper's recipe.
"""

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_jax import old_names
from cnn_jax.analysis import pack
from cnn_jax.analysis.deviations import deviations
from cnn_jax.errors import UserError
from cnn_jax.runs import load_run, sweep_file

Record = dict[str, Any]
SINGLE = "a run of no table"
# What a record has, and its recipe, and of which type it is.
PARTS = {"recipe": dict, "config": dict, "environment": dict, "status": str, "summary": dict}
PARTS |= {"evaluations": list, "protocols": list, "measurements": dict}
RECIPE = dict.fromkeys(("name", "title", "protocol", "statistic", "command", "row", "note"), str)
RECIPE |= {"axis": object, "tolerance": int | float | dict, "published": dict, "protocols": dict}
RECIPE |= {"deviations": list, "runs": int, "full": bool}
# The folders of an absolute path inside a text, such as a flag.
FOLDERS = re.compile(r"""(?<![\w.~/)\]-])~?/(?=[^\s/])(?:[^\s/:=,;'"]+/)*""")


def find(path: Path) -> list[Record]:
    """All records at a path: of a sweep, a run, a record's file, or a folder with any of these.

    The pack of a campaign may have none. Raises `UserError` where there are none otherwise.
    """
    if not path.exists():
        raise UserError(f"there is no {path}")
    if path.is_file() and pack.is_pack(path):
        found = pack.read(path)["records"]
        return [checked(record, f"record {i} of {path}") for i, record in enumerate(found)]
    if is_run(path):
        return [of_undamaged(path, single(path))]
    records = list(_find(path))
    if not records:
        raise UserError(f"{path} has neither a run that began to train nor a record of a run")
    return records


def is_run(path: Path) -> bool:
    """Whether a folder is the directory of a run, and not of a sweep."""
    return (path / "config.json").exists() and not (path / sweep_file.NAME).exists()


def _find(path: Path):
    if path.is_file():
        yield read(path)
    elif (path / sweep_file.NAME).exists():
        yield from of_sweep(path)
    elif is_run(path):
        yield from undamaged(path, single(path))
    else:
        for child in sorted(path.iterdir()):
            if child.is_dir() or child.suffix == ".json":
                yield from _find(child)


def read(file: Path) -> Record:
    """A record of the registry; raises `UserError` for any other file."""
    try:
        record = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no record of a run ({type(error).__name__}: {error})") from None
    return checked(record, str(file))


def checked(record: Any, name: str) -> Record:
    """A record under the names of today; raises `UserError` where it is none."""
    try:
        record = old_names.record(record)
        check_types(record, PARTS)
        check_types(record["recipe"], RECIPE, "recipe.")
        for metrics in (*record["summary"].values(), *record["evaluations"]):
            check_types(metrics, {"step": int, "epoch": int | float, "top1_error": int | float})
        record["config"] = old_names.config(record["config"])
        check_types(record["config"], {"seed": int, "evaluation": dict}, "config.")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{name} is no record of a run ({type(error).__name__}: {error})") from None
    return record


def check_types(found: Mapping[str, Any], types: Mapping[str, Any], where: str = "") -> None:
    """Raises `TypeError` where something is missing or of another type."""
    for name, kind in types.items():
        if not (name in found and isinstance(found[name], kind)):
            raise TypeError(f"it lacks {where}{name}, or that is something else")


def of_sweep(path: Path) -> list[Record]:
    """The records of the runs of a sweep that began to train, row by row."""
    facts = sweep_file.read(path)
    records = []
    for row in facts["rows"]:
        of_row = {name: value for name, value in facts.items() if name not in ("rows", "seeds")}
        of_row |= {"row": row["name"], "published": row["published"], "paper": row["paper"]}
        of_row |= {name: row[name] for name in ("runs", "protocols") if name in row}
        for place in sorted((path / row["folder"]).glob("seed-*/config.json")):
            records += undamaged(place.parent, of_row)
    return records


def undamaged(path: Path, row: Mapping[str, Any]) -> list[Record]:
    """The record of a run; none, with a warning, where it is damaged: the others count."""
    try:
        return [of_undamaged(path, row)]
    except UserError as error:
        warnings.warn(f"{error}; this run is left out", stacklevel=2)
        return []


def of_undamaged(path: Path, row: Mapping[str, Any]) -> Record:
    """The record of a run; raises `UserError` where it is damaged."""
    try:
        return checked(of_run(path, row), str(path))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # of another config
        raise UserError(
            f"the config of {path}, or the paper's in {sweep_file.NAME}, is damaged "
            f"({type(error).__name__}: {error})"
        ) from None


def single(path: Path) -> dict[str, Any]:
    """The row of a run that belongs to no sweep: it has no table and no published number."""
    return {
        "name": "single-runs",
        "title": "Single runs",
        "protocol": "the config's own evaluation",
        "statistic": "mean",
        "axis": None,
        "tolerance": 0.5,
        "command": "",
        "runs": 1,
        "full": False,
        "protocols": {},
        "note": "",
        "row": path.resolve().name,
        "published": {},
        "paper": None,
    }


def of_run(path: Path, row: Mapping[str, Any]) -> Record:
    """The record of a run directory.

    Args:
      row: what `sweep.json` says of the table and of the row, or `single(path)`.
    """
    record = load_run(path).record()
    paper = row["paper"] or record["config"]
    recipe = {name: value for name, value in row.items() if name != "paper"}
    about = (record["config"], record["summary"].get("train"), record["status"] == "done")
    recipe["deviations"] = deviations(paper, *about) if row["paper"] else [SINGLE]
    recipe["paper_duration"] = paper["training"]["duration"]
    # The path of the data belongs to a machine and not to the run.
    data = {**record["config"]["data"], "path": paper["data"]["path"]}
    return portable({"recipe": recipe, **record, "config": {**record["config"], "data": data}})


def portable(value: Any) -> Any:
    """A JSON value with the last part of each absolute path: its folders belong to one machine."""
    if isinstance(value, Mapping):
        return {name: portable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [portable(one) for one in value]
    if not isinstance(value, str):
        return value
    return Path(value).name if value.startswith("/") else FOLDERS.sub("", value)
