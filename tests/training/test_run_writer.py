"""What a program measured stands in the metrics as its mean, and what is not finite ends a run."""

import json
import types

import jax
import numpy as np
import pytest
from rich.console import Console

from cnn_jax.cluster.join import Alone
from cnn_jax.errors import DIVERGED, UserError
from cnn_jax.progress import TrainingProgress
from cnn_jax.runs import metrics
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.training import run_writer
from cnn_jax.training.plan import Plan

PLAN = Plan(64, 8, 1, 8, 16, 8, 2, 8, ("validation",), 8)


class Steady(TrainingProgress):
    """16 images a second, and the lines for a person kept."""

    def __init__(self):
        super().__init__(0, PLAN.total_steps, PLAN.batch_size, Console(quiet=True))
        self.lines, self.updates = [], []

    def update(self, *values):
        self.updates.append(values)
        return 16.0

    def line(self, text):
        self.lines.append(text)


@pytest.fixture
def writer(tiny_config, tmp_path):
    """Writes a run whose validation error is 0.25, its test error 0.5 and its train error 0.75."""
    numbers = {"validation": 0.25, "test": 0.5, "train": 0.75}
    evaluate = {
        split: lambda weights, e=error: {"loss": 2 * e, "top1_error": e, "top5_error": e / 5}
        for split, error in numbers.items()
    }
    devices = types.SimpleNamespace(addressable_devices=jax.devices()[:1])
    setup = types.SimpleNamespace(
        plan=PLAN,
        seeds=types.SimpleNamespace(by_example=devices),
        parts=types.SimpleNamespace(
            config=tiny_config, learning_rate=types.SimpleNamespace(plateau=None)
        ),
        evaluate=evaluate,
    )
    saved = []
    checkpoints = types.SimpleNamespace(save=lambda *what: saved.append(what))
    directory = RunDirectory(tmp_path / "run", tiny_config)
    (directory.path / "config.json").touch()
    made = run_writer.RunWriter(
        setup, directory, checkpoints, Steady(), Alone(), seconds=100.0, label="seed-3  "
    )
    made.saved, made.setup, made.progress = saved, setup, made._progress
    yield made
    made.close()
    directory.close()


def program(**values):
    fixed = {"learning_rate": np.float32([0.3, 0.1]), "top1_error": [0.0, 0.5], "loss": [1.0, 3.0]}
    fixed["top5_error"] = [0.0, 0.0]
    return lambda: {name: np.asarray(value) for name, value in (fixed | values).items()}


def state(value=1.0):
    raw = {"params": {"w": np.full(2, value)}, "batch_stats": {}}
    return types.SimpleNamespace(**raw, weights=lambda which: raw)


def lines_of(writer, split="train"):
    writer._metrics.sync()
    found = metrics.read(writer.directory.path)
    return [line for line in found if line["split"] == split]


def test_a_program_is_one_line_of_means_at_its_last_step_and_rate(writer):
    writer.log_steps(0, program(), None)
    assert lines_of(writer) == []  # it may still run
    writer.log_steps(2, program(loss=[5.0, 6.0]), None)
    (line,) = lines_of(writer)
    expected = {"step": 2, "epoch": 0.25, "loss": 2.0, "top1_error": 0.25, "learning_rate": 0.1}
    assert expected.items() <= line.items()
    assert line["images_per_second"] == 16.0 and line["seconds"] >= 100.0
    assert not {"skipped", "data_wait"} & set(line)
    assert writer.progress.updates == [(2, 2.0, 0.25)]


def test_time_without_data_is_a_fraction_of_the_time_of_a_line(writer):
    # Two steps of 8 images take a second at 16 images a second.
    writer.log_steps(0, program(skipped=[1, 2]), 0.25)
    writer.log_steps(2, program(skipped=[0, 0]), 0.125)
    writer.log_steps(4, program(skipped=[0, 0]), 9.0)
    first, second = lines_of(writer)
    assert (first["skipped"], second["skipped"]) == (3, 0)
    assert (first["data_wait"], second["data_wait"]) == (0.375, 1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_named_with_its_step(writer, bad):
    writer.log_steps(4, program(loss=[1.0, bad]), None)
    writer.log_steps(6, program(), None)
    assert writer.failure.exit_code == DIVERGED
    assert "the training loss is not finite at step 6:" in str(writer.failure)
    status = json.loads((writer.directory.path / "status.json").read_text())
    assert status["status"] == "diverged"
    writer.log_steps(8, program(), None)
    assert writer.evaluate_and_save(state(), 8, True) and not writer.saved


def test_an_evaluation_tells_the_mean_train_error_since_the_last_one(writer):
    for first, errors in enumerate(([0.0, 0.5], [0.5, 1.0])):
        writer.log_steps(2 * first, program(top1_error=errors), None)
    writer.evaluate_and_save(state(), 8, True)
    writer.log_steps(8, program(top1_error=[0.125, 0.125]), None)
    writer.evaluate_and_save(state(), 16, True)
    first, second = writer.progress.lines
    assert first == "seed-3  epoch 1  step 8  train error 50.00%  validation error 25.00%"
    assert second.startswith(
        "seed-3  epoch 2  step 16  train error 12.50%  validation error 25.00%"
    )
    assert "test error 50.00%" in second  # all splits at the end
    assert [line["step"] for line in lines_of(writer, "validation")] == [8, 16]
    assert [line["step"] for line in lines_of(writer, "test")] == [16]
    (line,) = lines_of(writer, "train_evaluated")  # "train" are the steps
    assert (line["loss"], line["top1_error"], line["top5_error"]) == (1.5, 0.75, 0.15)


def test_a_checkpoint_has_its_step_seconds_and_the_validation_error_of_its_evaluation(writer):
    writer.evaluate_and_save(state(), 4, False)
    writer.log_steps(4, program(), None)
    writer.evaluate_and_save(state(), 8, True)
    (step, _, seconds, error), (last, _, _, evaluated) = writer.saved
    assert (step, error, last, evaluated) == (4, None, 8, 0.25) and seconds >= 100.0


def test_parameters_that_are_not_finite_are_not_saved(writer):
    writer.evaluate_and_save(state(np.nan), 8, False)
    assert "a parameter is not finite at step 8" in str(writer.failure) and not writer.saved


def test_an_evaluation_whose_loss_is_not_finite_names_the_split(writer):
    writer.setup.evaluate["validation"] = lambda weights: {"loss": np.inf, "top1_error": 0.0}
    writer.evaluate_and_save(state(), 8, True)
    assert "the validation loss is not finite at step 8" in str(writer.failure)


def test_other_errors_are_no_divergence(writer):
    def fetch():
        raise UserError("the disk is full")

    writer.log_steps(0, fetch, None)
    with pytest.raises(UserError, match="disk is full"):
        writer.log_steps(2, program(), None)
    assert writer.failure is None


def test_metrics_are_on_disk_before_the_checkpoint_that_follows_them(writer, monkeypatch):
    events = []
    monkeypatch.setattr(writer._metrics, "sync", lambda: events.append("sync"))
    monkeypatch.setattr(writer._checkpoints, "save", lambda *_: events.append("save"))
    writer._checkpoints.wait = lambda: events.append("wait")
    writer.evaluate_and_save(state(), 4, False)
    writer.wait()
    assert events == ["sync", "save", "wait"]


@pytest.mark.parametrize("index", [0, 1])
def test_process_0_alone_draws_curves_and_opens_trackers(index, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(run_writer, "Metrics", lambda *what: asked.append(what))
    monkeypatch.setattr(run_writer, "make_part", lambda *_, **__: "trackers")
    directory = types.SimpleNamespace(path=tmp_path, config=None, set_status=asked.append)
    group, progress = types.SimpleNamespace(index=index), types.SimpleNamespace(step=7)
    run_writer.RunWriter(None, directory, None, progress, group, seconds=1.5)
    opened = (True, "trackers") if index == 0 else (False, ())
    assert asked == [(tmp_path, 7, 1.5, *opened), "running"]


def test_a_plateau_sees_the_errors_of_evaluations_alone(writer, monkeypatch):
    writer.setup.parts.learning_rate.plateau = "rule"
    monkeypatch.setattr(run_writer.plateau, "observe", lambda state, error: (state, error))
    raw = {"params": {}, "batch_stats": {"a": np.ones(1)}}
    before = types.SimpleNamespace(
        **raw, opt_state="opt", weights=lambda which: raw, replace=lambda opt_state: opt_state
    )
    writer.log_steps(0, program(), None)
    assert writer.evaluate_and_save(before, 4, False) is before
    writer.log_steps(4, program(), None)
    assert writer.evaluate_and_save(before, 8, True) == ("opt", 0.25)
