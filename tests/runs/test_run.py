"""A run can be asked: its config, history, network, variables and predictions."""

import numpy as np
import pytest
from rich.console import Console

import cnn_jax
from cnn_jax import data
from cnn_jax.errors import UserError
from cnn_jax.training.train import train


@pytest.fixture(scope="module")
def run(tiny_run):
    return cnn_jax.load_run(tiny_run)


def test_the_config_is_the_one_it_was_started_with(run, tiny_config):
    assert run.config.to_dict() == tiny_config.to_dict()


def test_the_history_has_a_row_per_line_with_errors_from_0_to_1(run):
    history = run.history
    assert {"step", "epoch", "split", "loss", "top1_error", "top5_error", "seconds"} <= set(history)
    assert (history.top1_error.between(0, 1)).all()
    assert history[history.split == "validation"].step.tolist() == [20, 40, 60]
    assert history[history.split == "test"].step.tolist() == [60]
    steps = history[history.split == "train"].step.tolist()
    assert steps == list(range(5, 61, 5))


def test_the_summary_is_the_last_row_of_each_split(run):
    last = run.history[run.history.split == "test"].iloc[-1]
    assert run.summary["test"]["top1_error"] == last.top1_error


def test_evaluating_the_last_checkpoint_gives_the_number_of_the_run(run):
    numbers = cnn_jax.evaluate(run, split="test")
    assert numbers["top1_error"] == run.summary["test"]["top1_error"]
    assert numbers["loss"] == pytest.approx(run.summary["test"]["loss"], rel=1e-5)


def test_predictions_are_probabilities_and_as_wrong_as_the_evaluation(run):
    images, labels = data.load(
        "digits", path=None, image_size=None, validation_size=0, split_seed=0
    ).splits["test"]
    probabilities = run.predict(images)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    wrong = (probabilities.argmax(1) != labels).mean()
    assert wrong == pytest.approx(run.summary["test"]["top1_error"], abs=1e-6)


def test_predictions_of_float_images_are_refused(run):
    with pytest.raises(UserError, match="uint8 images"):
        run.predict(np.zeros((1, 8, 8, 1), np.float32))


def test_a_precision_that_no_recipe_has_is_named(tiny_run):
    run = cnn_jax.load_run(tiny_run)
    run.config.precision.matmul = "float8"
    with pytest.raises(UserError, match=r"unknown precision.matmul of .*'float8'"):
        run.predict(np.zeros((1, 8, 8, 1), np.uint8))


def test_the_best_checkpoint_is_the_one_of_the_lowest_validation_error(run):
    rows = run.history[run.history.split == "validation"].set_index("step").top1_error
    assert rows[run.find_step("best")] == rows.min()


def test_the_latest_two_and_the_best_checkpoint_are_kept(run):
    assert set(run.steps) == {40, 60} | {run.find_step("best")}


def test_a_step_without_checkpoint_is_refused_with_those_there_are(run):
    with pytest.raises(UserError, match="no checkpoint 3; it has best, last"):
        run.variables(3)


def test_a_directory_that_is_no_run_is_refused_with_the_runs_in_it(run):
    with pytest.raises(UserError, match="it holds the runs .*tiny"):
        cnn_jax.load_run(run.path.parent)


def test_a_damaged_config_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{no")
    with pytest.raises(UserError, match="config.json is damaged"):
        _ = cnn_jax.load_run(tmp_path).config


def test_load_runs_has_a_row_per_run_with_settings_and_numbers(run):
    (row,) = cnn_jax.load_runs(run.path.parent).to_dict("records")
    assert row["model.width"] == 1 and row["status"] == "done"
    assert row["test.top1_error"] == run.summary["test"]["top1_error"]


def test_a_run_with_averages_evaluates_and_gives_them(dense_config, tmp_path):
    config = dense_config.copy_and_resolve_references()
    config.training.update(duration="1 epoch", steps_per_dispatch=20)  # one program
    config.ema.decay, config.evaluation.weights = 0.9, "ema"
    train(config, tmp_path / "run", Console(quiet=True))
    run = cnn_jax.load_run(tmp_path / "run")
    kernels = [
        v["params"]["ip3"]["kernel"] for v in (run.variables(), run.variables(weights="raw"))
    ]
    assert (kernels[0] != kernels[1]).all()
    found = cnn_jax.evaluate(run, split="test")
    assert found["loss"] == pytest.approx(run.summary["test"]["loss"], rel=1e-5)


def test_averages_that_a_run_does_not_keep_are_refused(tiny_run):
    with pytest.raises(UserError, match="has no weights 'ema'; it keeps raw ones"):
        cnn_jax.load_run(tiny_run).variables(weights="ema")
