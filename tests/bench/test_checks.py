"""doctor finds what is wrong, and finds nothing where nothing is."""

import types

import numpy as np
import pytest

import cnn_jax
from cnn_jax.bench import checks
from tests.conftest import ROOT


@pytest.fixture
def target(tmp_path):
    quickstart = cnn_jax.load_config(str(ROOT / "experiments/quickstart.py"))
    return checks.Machine(quickstart, quickstart, ROOT / "requirements.txt", tmp_path / "runs")


def statuses(lines):
    return {line.what: line.status for line in lines}


def test_the_known_loss_of_the_quickstart_is_what_it_trains_to(target):
    (line,) = checks.check_training(target)
    assert line.status == "ok", line


def test_another_loss_is_a_failure(target, monkeypatch):
    losses = {"loss": np.full(20, checks.QUICKSTART_LOSS * 1.01)}
    setup = types.SimpleNamespace(
        plan=types.SimpleNamespace(dispatches=lambda step: iter([(0, 20)])),
        initial_state=lambda: None,
        run_steps=lambda state, first, count: (state, losses),
    )
    monkeypatch.setattr(checks.build, "build", lambda config: setup)
    (line,) = checks.check_training(target)
    assert line.status == "FAIL" and line.advice


def test_a_checkpoint_is_written_where_runs_would_be_and_nothing_stays(target, tmp_path):
    (line,) = checks.check_checkpoint(target)
    assert line.status == "ok" and not list(tmp_path.iterdir())


def test_a_checkpoint_that_comes_back_changed_is_a_failure(target, monkeypatch):
    def restored(self, template):
        return {"step": 1, "kernel": 0.0}, {}

    monkeypatch.setattr(checks.Checkpoints, "restore_latest", restored)
    (line,) = checks.check_checkpoint(target)
    assert line.status == "FAIL"


def test_missing_and_other_packages_are_told_apart(target, tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# a comment\njax==0.0.1\nno-such-package==1.0\n")
    found = statuses(checks.check_python(target._replace(requirements=requirements)))
    assert (found["jax"], found["no-such-package"]) == ("warning", "FAIL")


def test_data_that_is_not_there_is_a_failure_that_names_the_option(target, tmp_path):
    config = target.config.copy_and_resolve_references()
    config.data.update(name="cifar10", path=str(tmp_path / "nowhere"))
    (line,) = checks.check_data(target._replace(config=config))
    assert line.status == "FAIL" and "--config.data.path" in line.advice


def test_a_full_disk_is_a_failure(target, monkeypatch):
    usage = type(checks.shutil.disk_usage("/"))
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda folder: usage(100, 100, 0))
    assert set(statuses(checks.check_disk(target)).values()) == {"FAIL"}


def test_a_check_that_raises_is_a_failure_and_the_others_go_on(target, monkeypatch):
    def check_something(target):
        raise OSError("broken in two")
        yield

    monkeypatch.setattr(checks, "CHECKS", (check_something, checks.check_devices))
    first, second = checks.examine(target)
    assert (first.status, first.what, first.found) == ("FAIL", "something", "broken in two")
    assert second.what == "devices"
