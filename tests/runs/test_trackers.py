"""Trackers get what `metrics.jsonl` gets; what happens to them happens to no run."""

import importlib.util
import json
import sys
import threading
import warnings
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict
from rich.console import Console

import cnn_jax
from cnn_jax.errors import UserError
from cnn_jax.runs import metrics
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.runs.trackers import mirror, mlflow_run, wandb_run
from cnn_jax.runs.trackers.mirror import Mirror
from cnn_jax.runs.trackers.tracker import Line
from cnn_jax.training.train import train
from tests.conftest import DENSE, ROOT

ERRORS = {"epoch": 0.1, "loss": 2.0, "top1_error": 0.9, "top5_error": 0.5}


@pytest.fixture
def folder(tmp_path):
    """The directory of a run that trains."""
    (tmp_path / "status.json").write_text('{"status": "running"}')
    return tmp_path


def of(folder):
    """What `open_trackers` takes of a run directory."""
    return SimpleNamespace(path=folder, config=ConfigDict({"seed": 3}))


class Fake:
    """A tracker that keeps what it gets; `fails` at a method, or `waits` at one."""

    def __init__(self, fails="", waits=""):
        self.lines, self.status, self.fails, self.waits = [], None, fails, waits

    def at(self, method):
        if method == self.fails:
            raise ConnectionError("no\nroute")
        if method == self.waits:
            threading.Event().wait()

    def opened(self):
        self.at("open")
        return self

    def add(self, lines):
        self.at("add")
        self.lines += lines

    def close(self, status):
        self.at("close")
        self.status = status


def written(folder, fake):
    """The lines of a run that such a tracker mirrors."""
    run = metrics.Metrics(folder, 0, 0.0, False, [Mirror("wandb", folder, fake.opened)])
    for step in (1, 2):
        run.write(step, "train", **ERRORS)
    run.close()
    return metrics.read(folder)


@pytest.mark.filterwarnings("error")
def test_a_tracker_gets_every_line_in_order_and_how_the_run_ended(folder):
    fake = Fake()
    lines = written(folder, fake)
    assert fake.lines == [Line(line["step"], "train", ERRORS) for line in lines]
    assert fake.lines[0].named["train/top1_error"] == 0.9 and fake.status == "done"


def test_a_tracker_is_told_that_its_run_failed(folder):
    (folder / "status.json").write_text('{"status": "preempted"}')
    fake = Fake()
    written(folder, fake)
    assert fake.status == "preempted"


@pytest.mark.parametrize("method", ["open", "add", "close"])
def test_a_tracker_that_fails_costs_one_warning_and_no_line(folder, method):
    with pytest.warns(UserWarning, match=r"wandb lacks .*\(ConnectionError: no\)") as caught:
        assert [line["step"] for line in written(folder, Fake(fails=method))] == [1, 2]
    assert len(caught) == 1


@pytest.mark.parametrize("method", ["open", "add", "close"])
def test_a_tracker_that_hangs_holds_up_no_run(folder, method, monkeypatch):
    monkeypatch.setattr(mirror, "CLOSE_SECONDS", 0.05)
    with pytest.warns(UserWarning, match="wandb lacks .*does not answer"):
        assert len(written(folder, Fake(waits=method))) == 2


def test_without_a_project_no_tracker_is_opened(folder):
    assert metrics.open_trackers(run=None, wandb=None, mlflow=None) == []


def test_what_is_not_installed_is_said_and_the_run_trains(tmp_path, dense_run, monkeypatch):
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)  # an import fails
    fields = [*DENSE, "logging.wandb=group/project", "logging.mlflow=experiment"]
    config = cnn_jax.load_config(str(ROOT / "experiments/quickstart.py"), fields)
    with pytest.warns(UserWarning, match="lacks numbers .*ModuleNotFoundError") as caught:
        train(config, tmp_path / "run", Console(quiet=True))
    assert len([one for one in caught if "lacks" in str(one.message)]) == 2
    assert metrics.reproducible(tmp_path / "run") == metrics.reproducible(dense_run)


def test_a_run_may_get_a_tracker_when_it_goes_on(tmp_path, dense_config):
    (tmp_path / "config.json").write_text(json.dumps(dense_config.to_dict()))
    config = dense_config.copy_and_resolve_references()
    config.logging.wandb = "project"
    RunDirectory(tmp_path, config).close()
    config.seed = 1
    with pytest.raises(UserError, match="It differs in seed: 0 there, 1 here$"):
        RunDirectory(tmp_path, config)


LINES = [Line(5, "train", ERRORS), Line(5, "test", ERRORS), Line(10, "train", ERRORS)]


def test_wandb_goes_on_with_the_run_that_it_has(folder, monkeypatch):
    began = []

    def init(**options):
        began.append(options)
        return SimpleNamespace(id=options["id"], offline=True)

    fake = SimpleNamespace(init=init, Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for _ in range(2):
        wandb_run.open_run(folder, {"seed": 3}, "group/project")
    assert began[0] == began[1] and began[0]["resume"] == "allow"
    expected = {"entity": "group", "project": "project", "config": {"seed": 3}}
    assert expected.items() <= began[0].items()
    assert began[0]["name"] == f"{folder.parent.name}/{folder.name}"


def test_mlflow_gets_no_step_twice(folder, monkeypatch):
    history = [SimpleNamespace(step=5), SimpleNamespace(step=2)]
    sent = []
    client = SimpleNamespace(
        get_metric_history=lambda run, name: history if name.startswith("train") else [],
        log_batch=lambda run, metrics: sent.extend(metrics),
    )
    fake = SimpleNamespace(Metric=lambda name, value, time, step: (name, step))
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(entities=fake))
    monkeypatch.setitem(sys.modules, "mlflow.entities", fake)
    mlflow_run.MlflowRun(client, "id", is_new=False).add(LINES)
    assert sent == [
        (f"{split}/{n}", s) for split, s in (("test", 5), ("train", 10)) for n in ERRORS
    ]


def needs(module):
    """Each takes seconds to import, and nobody else needs it."""
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"no {module}: pip install 'cnn_jax[{module}]'")


def wandb_records(file):
    """The records of an offline run: blocks of 32 KiB, their parts after seven bytes."""
    from wandb.proto import wandb_internal_pb2

    content, at, record = file.read_bytes(), 7, b""
    while at < len(content):
        if (left := 2**15 - at % 2**15) < 7:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


@pytest.mark.slow
@needs("wandb")
def test_wandb_has_the_lines_of_an_offline_run(folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (mirrored,) = metrics.open_trackers(run=of(folder), wandb="project", mlflow=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for line in LINES:
            mirrored.add(*line)
        mirrored.close()
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    records = list(wandb_records(file))
    rows = [
        {
            item.nested_key[0] or item.key: json.loads(item.value_json)
            for item in record.history.item
        }
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    assert [row["_step"] for row in rows] == [5, 10]
    both = {f"{split}/{name}": v for split in ("train", "test") for name, v in ERRORS.items()}
    assert both.items() <= rows[0].items()
    (run,) = [r.run for r in records if r.WhichOneof("record_type") == "run"]
    assert run.run_id == json.loads((folder / "wandb.json").read_text())["id"]
    assert run.project == "project"


@pytest.mark.slow
@needs("mlflow")
def test_mlflow_has_the_lines_in_its_folder_once_though_the_run_goes_on(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (folder / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    for lines in (LINES[:2], LINES[1:]):
        (mirrored,) = metrics.open_trackers(run=of(folder), wandb=None, mlflow="a name")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            for line in lines:
                mirrored.add(*line)
            mirrored.close()
    client = MlflowClient()
    experiment = client.get_experiment_by_name("a name")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params == {"seed": "3"} and run.info.status == "FINISHED"
    assert run.data.metrics["train/top1_error"] == 0.9
    for split, steps in (("train", [5, 10]), ("test", [5])):
        found = client.get_metric_history(run.info.run_id, f"{split}/loss")
        assert [metric.step for metric in found] == steps
