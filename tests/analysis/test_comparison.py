"""Our numbers beside the paper's: the statistic that it states, and an honest verdict."""

import pytest

from cnn_jax.analysis import comparison, markdown
from cnn_jax.analysis.comparison import lines, value
from tests.analysis.making import record


def only_line(*records):
    (line,) = lines(records)
    return line


@pytest.mark.parametrize("statistic, ours", [("median", 5.0), ("mean", 6.0), ("best", 4.0)])
def test_the_statistic_is_that_of_the_table(statistic, ours):
    runs = [record("a", i, e, 5.2, statistic=statistic) for i, e in enumerate((9, 4, 5))]
    line = only_line(*runs)
    assert line.ours == pytest.approx(ours)
    assert line.values == pytest.approx((9, 4, 5))
    assert markdown.cells(line)[6:10] == ["3", "6.00 ± 2.65", "4.00", "5.00"]


@pytest.mark.parametrize("error, verdict", [(5.7, "reproduced"), (5.71, "above"), (4.69, "below")])
def test_the_tolerance_is_that_of_the_table(error, verdict):
    assert only_line(record("a", 0, error, 5.2)).verdict == verdict


def test_a_shortened_run_is_not_set_against_the_paper():
    line = only_line(record("a", 0, 5.2, 5.2, ["shortened: 1 of 200 epochs"]))
    assert line.verdict == "another recipe"
    cells = dict(zip(markdown.COLUMNS, markdown.cells(line), strict=True))
    assert cells["difference"] == "" and cells["recipe"] == "shortened: 1 of 200 epochs"
    assert cells["epochs"] == "3"


def test_runs_of_a_row_that_departed_differently_are_kept_apart():
    both = lines([record("a", 0, 5.2, 5.2), record("a", 1, 9.0, 5.2, ["shortened: 1 of 3 epochs"])])
    assert [(line.values, line.verdict) for line in both] == [
        (pytest.approx((5.2,)), "reproduced"),
        (pytest.approx((9.0,)), "another recipe"),
    ]


def test_what_diverged_or_did_not_end_is_counted_and_not_averaged():
    runs = [record("a", 0, 5.0, 5.2), record("a", 1, 90.0, 5.2, status="diverged")]
    line = only_line(*runs, record("a", 2, 70.0, 5.2, status="preempted"))
    assert line.values == pytest.approx((5.0,))
    assert line.lost == "1 diverged, 1 unfinished"


def test_metrics_by_split_by_best_validation_and_by_protocol():
    run = record("a", 0, 8.0)
    run["evaluations"][1]["top1_error"] = 0.01  # the validation of epoch 1 is the best
    run["evaluations"][2]["top1_error"] = 0.3
    assert value(run, "test/top1_error") == pytest.approx(8.0)
    assert value(run, "best/test/top1_error") == pytest.approx(30.0)
    assert value(run, "ten_crop/top1_error") == pytest.approx(4.0)
    assert value(run, "crops_144/top1_error") is None


def test_a_shortened_recipe_reproduces_nothing_whatever_its_variant_is_called():
    line = only_line(record("a", 0, 5.2, 5.2, full=False))
    assert line.verdict == "another recipe" and line.difference is None
    assert comparison.recipe_text(line) == "shortened, or ours"


def test_fewer_runs_than_the_papers_reproduce_nothing():
    few = [record("a", seed, 5.2, 5.2, runs=5) for seed in range(4)]
    assert only_line(*few).verdict == "within tolerance, 4 of 5 runs"
    assert only_line(*few, record("a", 4, 5.2, 5.2, runs=5)).verdict == "reproduced"
    assert only_line(record("a", 0, 9.0, 5.2, runs=5)).verdict == "above, 1 of 5 runs"


@pytest.mark.parametrize(
    "error, runs, verdict",
    [(35.0, 1, "confirmed"), (8.0, 1, "refuted"), (35.0, 5, "confirmed, 1 of 5 runs")],
)
def test_a_row_that_failed_in_the_paper_is_a_claim(error, runs, verdict):
    line = only_line(record("a", 0, error, {"test/top1_error": ">20"}, runs=runs))
    assert (line.verdict, line.difference) == (verdict, None)
    assert markdown.cells(line)[2] == ">20"


def test_the_standard_error_is_that_of_the_mean():
    runs = [record("a", seed, error, 5.2) for seed, error in enumerate((4.0, 5.0, 6.0, 5.0))]
    assert only_line(*runs).standard_error == pytest.approx((2 / 3) ** 0.5 / 2)
    assert only_line(runs[0]).standard_error is None


def test_tolerances_are_by_the_longest_end_of_the_metric():
    limits = {"error": 0.1, "top5_error": 0.3, "rate": 2.0}
    ends = ("after/top1_error", "after/top5_error", "file/rate")
    found = [comparison.tolerance({"tolerance": limits}, metric) for metric in ends]
    assert found == [0.1, 0.3, 2.0]


def test_what_was_measured_besides_training_is_a_metric():
    run = record("a", 0, 5.0) | {"measurements": {"file/rate": 40.5, "after/top1_error": 0.016}}
    assert value(run, "file/rate") == 40.5
    assert value(run, "after/top1_error") == pytest.approx(1.6)


@pytest.mark.parametrize(
    "other",
    [{"resize": 320}, {"crop": 256}, {"average": "logits"}, {"flip": False}, {"square": True}],
)
def test_an_evaluation_in_another_setting_of_the_same_protocol_does_not_count(other):
    run = record("a", 0, 8.0)
    run["protocols"][0]["settings"] |= other
    assert value(run, "ten_crop/top1_error") is None


def test_an_evaluation_that_does_not_tell_its_settings_does_not_count():
    run = record("a", 0, 8.0)
    del run["protocols"][0]["settings"]
    assert value(run, "ten_crop/top1_error") is None


def test_a_protocol_that_the_row_does_not_name_is_compared_with_nothing():
    assert value(record("a", 0, 8.0, protocols={}), "ten_crop/top1_error") is None


@pytest.mark.parametrize("other", [{"split": "train"}, {"step": 10}, {"weights": "bn"}])
def test_a_later_evaluation_of_something_else_is_not_the_runs_result(other):
    run = record("a", 0, 8.0)
    run["protocols"].append(run["protocols"][0] | {"top1_error": 0.01} | other)
    assert value(run, "ten_crop/top1_error") == pytest.approx(4.0)
    del run["protocols"][0]
    assert value(run, "ten_crop/top1_error") is None


def test_the_same_evaluation_again_takes_the_place_of_the_earlier():
    run = record("a", 0, 8.0)
    run["protocols"].append(run["protocols"][0] | {"top1_error": 0.03})
    assert value(run, "ten_crop/top1_error") == pytest.approx(3.0)


def test_tables_are_kept_apart():
    runs = [record("a", 0, 5.0), record("a", 0, 5.0, title="Table 2"), record("b", 0, 5.0)]
    found = list(comparison.tables(runs))
    assert [(facts["title"], len(own)) for facts, own in found] == [("Table 1", 2), ("Table 2", 1)]
