"""A damaged record, list of a sweep or pack is one line, whatever is wrong in it."""

import gzip
import json

import pytest

from cnn_jax.analysis import pack, run_records
from cnn_jax.errors import UserError
from cnn_jax.runs import sweep_file
from tests.analysis.making import record


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("recipe", "runs"), "1"),
        (("recipe", "published"), None),
        (("recipe", "deviations"), True),
        (("summary",), []),
        (("summary", "train"), 3),
        (("evaluations", 0, "epoch"), None),
        (("config", "seed"), {}),
        (("status",), 1),
    ],
)
def test_a_record_with_something_of_another_type_is_told(tmp_path, place, value):
    damaged = record("row 1", 0, 8.0, 8.5)
    *outer, last = place
    inner = damaged
    for name in outer:
        inner = inner[name]
    inner[last] = value
    (tmp_path / "record.json").write_text(json.dumps(damaged))
    with pytest.raises(UserError, match="record.json is no record of a run"):
        run_records.find(tmp_path)


def test_json_that_is_too_deep_is_told(tmp_path):
    deep = b"[" * 100_000
    for name, read in {
        "record.json": run_records.read,
        pack.NAME: pack.read,
        sweep_file.NAME: lambda file: sweep_file.read(file.parent),
    }.items():
        (tmp_path / name).write_bytes(gzip.compress(deep) if name == pack.NAME else deep)
        with pytest.raises(UserError, match=name):
            read(tmp_path / name)


def test_a_config_of_a_paper_that_lacks_a_group_is_told(tiny_config, tmp_path):
    run = tmp_path / "row" / "seed-0"
    run.mkdir(parents=True)
    config = tiny_config.to_dict()
    (run / "config.json").write_text(json.dumps(config))
    paper = {name: group for name, group in config.items() if name != "data"}
    row = {"name": "row", "folder": "row", "published": {}, "config": config, "paper": paper}
    facts = record("row", 0, 8.0)["recipe"] | {"rows": [row], "seeds": 1}
    (tmp_path / sweep_file.NAME).write_text(json.dumps(facts))
    with (
        pytest.warns(UserWarning, match="the paper's in sweep.json, is damaged .*; this run is"),
        pytest.raises(UserError, match="neither a run that began to train nor a record"),
    ):
        run_records.find(tmp_path)
