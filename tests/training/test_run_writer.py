"""What the lines of a run say besides the loss."""

import json
from types import SimpleNamespace

from cnn_jax.runs import metrics
from cnn_jax.training.run_writer import peak_memory


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
