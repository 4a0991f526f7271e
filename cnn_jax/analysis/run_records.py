"""Finished runs as JSON values: from sweeps, single runs, and the registry of results.

A record is what `Run.record()` gives, with "recipe": the row of the table that the run belongs to,
what is printed there, and in what the run departs from the paper.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_jax import old_names
from cnn_jax.analysis.deviations import departures
from cnn_jax.errors import UserError
from cnn_jax.runs import load_run

Record = dict[str, Any]
SWEEP = "sweep.json"
ALONE = "a run of no table"
# What a report reads of a record, and of its recipe.
PARTS = ("recipe", "config", "environment", "status", "summary", "evaluations", "protocols")
RECIPE = ("name", "title", "protocol", "statistic", "axis", "tolerance")
RECIPE += ("command", "row", "published", "departures")
# The folders of an absolute path, in a flag or a sentence.
FOLDERS = re.compile(r"""(?<![\w.~/)\]-])~?/(?=[^\s/])(?:[^\s/:=,;'"]+/)*""")


def find(path: Path) -> list[Record]:
    """All records at a path: a sweep, a run, a record's file, or a folder with any of them.

    Raises `UserError` where there are none.
    """
    if not path.exists():
        raise UserError(f"there is no {path}")
    records = list(_find(path))
    if not records:
        raise UserError(f"{path} has no run that began to train, and no record of one")
    return records


def _find(path: Path):
    if path.is_file():
        yield read(path)
    elif (path / SWEEP).exists():
        yield from of_sweep(path)
    elif (path / "config.json").exists():
        yield of_run(path, alone(path))
    else:
        for child in sorted(path.iterdir()):
            if child.is_dir() or child.suffix == ".json":
                yield from _find(child)


def read(file: Path) -> Record:
    """A record of the registry; raises `UserError` for any other file."""
    try:
        record = json.loads(file.read_text())
        lacking = [part for part in PARTS if part not in record]
        lacking = lacking or [f"recipe.{name}" for name in RECIPE if name not in record["recipe"]]
        if lacking:
            raise KeyError(f"it lacks {', '.join(lacking)}")
        record["config"] = old_names.config(record["config"])
        record["config"]["seed"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is no record of a run ({type(error).__name__}: {error})") from None
    return record


def read_sweep(path: Path) -> dict[str, Any]:
    """What `sweep.json` in the directory of a sweep says; raises `UserError` for a damaged one."""
    try:
        facts = json.loads((path / SWEEP).read_text())
        for row in facts["rows"]:
            row["name"], row["folder"], row["published"]
            row["config"] = old_names.config(row["config"])
            row["paper"] = row["paper"] and old_names.config(row["paper"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path / SWEEP} is damaged ({type(error).__name__}: {error}): get it back from a "
            "copy, or choose another directory"
        ) from None
    return facts


def of_sweep(path: Path) -> list[Record]:
    """The runs of a sweep that began to train, row by row."""
    facts = read_sweep(path)
    records = []
    for row in facts["rows"]:
        of_row = {name: value for name, value in facts.items() if name not in ("rows", "seeds")}
        of_row |= {"row": row["name"], "published": row["published"], "paper": row["paper"]}
        for place in sorted((path / row["folder"]).glob("seed-*/config.json")):
            records.append(of_run(place.parent, of_row))
    return records


def alone(path: Path) -> dict[str, Any]:
    """What is known of a run that belongs to no sweep: no table, no number of a paper."""
    return {
        "name": "single-runs",
        "title": "Single runs",
        "protocol": "the config's own evaluation",
        "statistic": "mean",
        "axis": None,
        "tolerance": 0.5,
        "command": "",
        "row": path.resolve().name,
        "published": {},
        "paper": None,
    }


def of_run(path: Path, row: Mapping[str, Any]) -> Record:
    """The record of a run directory."""
    record = load_run(path).record()
    paper = row["paper"] or record["config"]
    recipe = {name: value for name, value in row.items() if name != "paper"}
    about = (record["config"], record["summary"].get("train"), record["status"] == "done")
    recipe["departures"] = departures(paper, *about) if row["paper"] else [ALONE]
    recipe["paper_duration"] = paper["training"]["duration"]
    # Where the data lies on one machine is no setting of the run.
    data = {**record["config"]["data"], "path": paper["data"]["path"]}
    return portable({"recipe": recipe, **record, "config": {**record["config"], "data": data}})


def portable(value: Any) -> Any:
    """A JSON value without the folders of one machine: of an absolute path the last part."""
    if isinstance(value, Mapping):
        return {name: portable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [portable(one) for one in value]
    if not isinstance(value, str):
        return value
    return Path(value).name if value.startswith("/") else FOLDERS.sub("", value)
