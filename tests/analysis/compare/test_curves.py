"""Curves of runs that were never made: groups by config, mean and spread, smoothing."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from cnn_jax.analysis.compare import curves
from cnn_jax.errors import UserError


@pytest.fixture
def write(tmp_path, dense_config):
    """Writes a run with a validation error for each step 1, 2, ..."""

    def write(name, errors, seed=0, **fields):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        config = dense_config.copy_and_resolve_references().unlock()
        config.seed = seed
        config.update_from_flattened_dict(fields)
        (folder / "config.json").write_text(json.dumps(config.to_dict()))
        lines = [
            {"step": i, "epoch": i / 2, "split": "validation", "loss": 1.0, "top1_error": error}
            | {"top5_error": 0.0, "seconds": i * (seed + 1.0)}
            for i, error in enumerate(errors, 1)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return write


def test_seeds_are_one_curve_with_their_mean_and_spread_at_each_step(write, tmp_path):
    write("wide/a", [0.4, 0.2], seed=0)
    write("wide/b", [0.6, 0.6], seed=1)
    found = curves.curves(tmp_path)
    assert list(found["curve"]) == ["wide", "wide"] and list(found["n"]) == [2, 2]
    np.testing.assert_allclose(found["mean"], [0.5, 0.4])
    np.testing.assert_allclose(found["std"], np.array([0.1, 0.2]) * 2**0.5)
    assert list(found["low"]) == [0.4, 0.2] and list(found["high"]) == [0.6, 0.6]
    assert list(found["epoch"]) == [0.5, 1.0] and list(found["seconds"]) == [1.5, 3.0]


def test_a_run_that_is_behind_counts_as_far_as_it_has_come(write, tmp_path):
    write("a", [0.4, 0.2], seed=0)
    write("b", [0.6], seed=1)
    found = curves.curves(tmp_path)
    assert list(found["n"]) == [2, 1] and list(found["mean"]) == [0.5, 0.2]


def test_curves_are_named_by_the_fields_in_which_they_differ(write, tmp_path):
    write("a", [0.4], seed=0, **{"learning_rate.rate": 0.1, "data.path": "here"})
    write("b", [0.6], seed=1, **{"learning_rate.rate": 0.5, "data.path": "there"})
    found = curves.curves(tmp_path)
    assert list(found["curve"]) == ["learning_rate.rate=0.1", "learning_rate.rate=0.5"]


def test_curves_may_be_named_by_hand(write):
    runs = {"ours": [write("a", [0.4], seed=0), str(write("b", [0.6], seed=1))]}
    assert list(curves.curves(runs)["curve"]) == ["ours"]


def test_smoothing_is_an_average_whose_first_values_weigh_no_more_than_others(write):
    found = curves.curves([write("a", [1.0, 0.0, 0.0])], smooth=0.5)
    np.testing.assert_allclose(found["mean"], [1.0, 1 / 3, 1 / 7])


def test_what_is_not_there_is_told_with_what_is(write, tmp_path):
    with pytest.raises(UserError, match="no runs"):
        curves.curves(tmp_path)
    run = write("a", [0.4])
    with pytest.raises(UserError, match="'tset'.*validation"):
        curves.curves([run], split="tset")
    with pytest.raises(UserError, match="'accuracy'.*top1_error"):
        curves.curves([run], of="accuracy")
    with pytest.raises(UserError, match="smooth is 1"):
        curves.curves([run], smooth=1)


@pytest.mark.parametrize(("spread", "low"), [("std", 0.5 - 0.1 * 2**0.5), ("range", 0.4)])
def test_a_figure_has_a_line_and_a_band_by_time(write, tmp_path, spread, low):
    write("wide/a", [0.4, 0.2], seed=0)
    write("wide/b", [0.6, 0.6], seed=1)
    axes = Figure().subplots()
    assert curves.draw(axes, curves.curves(tmp_path), by="seconds", spread=spread) is axes
    (line,), (band,) = axes.lines, axes.collections
    assert line.get_label() == "wide (n = 2)" and list(line.get_xdata()) == [1.5, 3.0]
    assert band.get_paths()[0].vertices[:, 1].min() == pytest.approx(min(low, 0.4 - 0.2 * 2**0.5)
        if spread == "std" else 0.2)  # fmt: skip
