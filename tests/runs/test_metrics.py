"""Lines of `metrics.jsonl`: read whole, and dropped where a run writes them again."""

import json
import sys
from types import SimpleNamespace

from cnn_jax.runs import metrics
from cnn_jax.runs.metrics import Metrics, peak_memory


def test_a_line_of_metrics_that_a_kill_cut_short_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "seconds": 1}\n{"step": 2, "sec')
    assert [line["step"] for line in metrics.read(tmp_path)] == [1]


def test_lines_after_the_step_that_a_run_goes_on_from_are_dropped(tmp_path):
    lines = [f'{{"step": {step}, "seconds": {step}}}\n' for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
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
            line = {"step": step, "split": split, "epoch": step / 2, "loss": 2 * error}
            file.write(json.dumps(line | {"top1_error": error, "seconds": float(step)}) + "\n")
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
    written.write(1, "train", loss=2.0)
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
        line = {"step": 1, "loss": 2.0, "peak_memory_bytes": peak}
        (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        found.append(metrics.reproducible(tmp_path))
    assert found[0] == found[1]
