"""Lines of `metrics.jsonl`: read whole, and dropped where a run writes them again."""

import json
import sys
import warnings
from types import SimpleNamespace

import pytest

from cnn_jax.runs import metrics
from cnn_jax.runs.metrics import Metrics, peak_memory


@pytest.fixture(autouse=True)
def curves():
    """They are drawn here."""


def line(step, **values):
    """A line of metrics, as text."""
    numbers = dict.fromkeys(metrics.NUMBERS, 0.5) | {"step": step, "split": "train"}
    return json.dumps(numbers | values) + "\n"


def test_a_line_of_metrics_that_a_kill_cut_short_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(line(1) + '{"step": 2, "sec')
    assert [line["step"] for line in metrics.read(tmp_path)] == [1]


def test_lines_after_the_step_that_a_run_goes_on_from_are_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(map(line, (1, 2, 3))))
    Metrics(tmp_path, last_step=2, seconds=2.0).close()
    assert [line["step"] for line in metrics.read(tmp_path)] == [1, 2]


def test_before_an_evaluation_stands_the_mean_of_the_training_since_the_last(tmp_path):
    lines = [
        (1, "train", 0.5),
        (2, "train", 0.3),
        (2, "test", 0.6),
        (3, "train", 0.2),
        (3, "test", 0.5),
    ]
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for step, split, error in lines:
            file.write(line(step, split=split, loss=2 * error, top1_error=error))
    rows = metrics.by_evaluations(tmp_path)
    found = [(row["step"], row["split"], row["top1_error"], row["loss"]) for row in rows]
    assert found == [
        (2, "train", 0.4, 0.8),
        (2, "test", 0.6, 1.2),
        (3, "train", 0.2, 0.4),
        (3, "test", 0.5, 1.0),
    ]


def test_without_tensorboardx_the_lines_are_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # an import fails
    written = metrics.Metrics(tmp_path, last_step=0, seconds=0.0)
    written.write(1, "train", epoch=0.1, loss=2.0, top1_error=0.9, top5_error=0.5)
    written.close()
    assert metrics.read(tmp_path)[0]["loss"] == 2.0 and not (tmp_path / "tensorboard").exists()


def device(stats):
    return SimpleNamespace(memory_stats=lambda: stats)


def test_the_peak_of_memory_is_that_of_the_fullest_device():
    assert peak_memory([device({"peak_bytes_in_use": n}) for n in (3, 5, 4)]) == 5


def test_devices_that_do_not_report_their_memory_have_no_peak():
    assert peak_memory([device(None), device({"bytes_in_use": 3})]) is None


def test_a_run_that_was_stopped_may_have_another_peak(tmp_path):
    found = []
    for peak in (5, 6):
        (tmp_path / "metrics.jsonl").write_text(line(1, peak_memory_bytes=peak))
        found.append(metrics.reproducible(tmp_path))
    assert found[0] == found[1]


DAMAGED = [
    line(2).replace('"', "'", 1),
    line(2).replace("step", "stdp"),
    line(2).replace('"train"', "3"),
    line(2).replace("{", "[", 1),
    "\n",
    "[" * 20_000 + "\n",
]


@pytest.mark.parametrize("damaged", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_line_is_named_and_left_out_wherever_lines_are_read(tmp_path, damaged):
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(1) + damaged + line(3))
    with pytest.warns(UserWarning, match="metrics.jsonl is damaged in line 2, which is left out"):
        assert [one["step"] for one in metrics.read(tmp_path)] == [1, 3]
    assert [one["step"] for one in metrics.tail(tmp_path)] == [1, 3]


def test_a_byte_that_is_no_text_damages_its_line_alone(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b"\xff" + line(1).encode() + line(2).encode())
    with pytest.warns(UserWarning, match="line 1"):
        assert metrics.summary(tmp_path)["train"]["step"] == 2


def test_a_run_that_goes_on_keeps_the_damaged_file_beside_the_lines_that_are_whole(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(1) + "x\n" + line(3))
    before = file.read_bytes()
    with pytest.warns(
        UserWarning, match="damaged in line 2, which is left out; it is in .*damaged"
    ):
        Metrics(tmp_path, last_step=3, seconds=2.0).close()
    assert (tmp_path / "damaged" / "metrics.jsonl").read_bytes() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [one["step"] for one in metrics.read(tmp_path)] == [1, 3]


ERRORS = {"epoch": 0.1, "loss": 2.0, "top1_error": 0.9, "top5_error": 0.5}


def test_a_run_that_was_stopped_has_its_curves(tmp_path):
    written = Metrics(tmp_path, last_step=0, seconds=0.0)
    written.write(1, "train", **ERRORS)
    assert not (tmp_path / "curves.png").exists()
    written.close()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_curves_are_drawn_at_evaluations_but_not_at_each(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(metrics, "draw_curves", lambda lines, *_: drawn.append(len(lines)))
    written = Metrics(tmp_path, last_step=0, seconds=0.0)
    written.write(1, "validation", **ERRORS)
    assert not drawn
    monkeypatch.setattr(metrics, "DRAW_SECONDS", 0.0)
    written.write(2, "train", **ERRORS)
    written.write(2, "validation", **ERRORS)
    written.close()
    assert drawn == [3, 3]


def test_a_process_that_writes_for_nobody_draws_nothing(tmp_path):
    written = Metrics(tmp_path, last_step=0, seconds=0.0, draws=False)
    written.write(1, "test", **ERRORS)
    written.close()
    assert not (tmp_path / "curves.png").exists()
