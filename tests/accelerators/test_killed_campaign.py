"""A campaign that was killed twice ends with the records of one that was left alone."""

import signal
import subprocess
import sys

import pytest

from cnn_jax.analysis import pack
from cnn_jax.runs.metrics import WALL_CLOCK
from tests.conftest import ROOT, count_lines, wait_until

TASKS = "experiments/campaign_digits.py"


def start(workdir):
    words = [f"--tasks={TASKS}", "--budget=5m", f"--workdir={workdir}"]
    command = [sys.executable, "launch.py", "campaign", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes)


def finish(process):
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def reproducible(value):
    """A JSON value without times, and without what differs between two starts."""
    if isinstance(value, dict):
        left_out = (*WALL_CLOCK, "environment")
        return {k: reproducible(v) for k, v in value.items() if k not in left_out}
    return [reproducible(one) for one in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_a_campaign_killed_twice_ends_with_the_same_records(tmp_path):
    finish(start(tmp_path / "undisturbed"))
    killed = tmp_path / "killed"
    for row in ("WRN-10-1", "WRN-10-2"):
        process = start(killed)
        lines = killed / "runs/wide-resnet-cifar-width" / row / "seed-1/metrics.jsonl"
        wait_until(lambda file=lines: count_lines(file) > 3, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    output = finish(start(killed))
    assert "WRN-10-1" not in output.partition("tasks are left")[0]  # it had ended
    packs = [pack.read(folder / pack.NAME) for folder in (tmp_path / "undisturbed", killed)]
    assert [len(found["records"]) for found in packs] == [4, 4]
    expected, found = (reproducible(found["records"]) for found in packs)
    assert found == expected
    assert all(task["status"] == "done" for found in packs for task in found["tasks"])


@pytest.mark.slow
def test_a_campaign_that_is_stopped_saves_and_goes_on_with_the_same_training(tmp_path):
    process = start(tmp_path)
    lines = tmp_path / "runs/wide-resnet-cifar-width/WRN-10-1/seed-1/metrics.jsonl"
    wait_until(lambda: count_lines(lines) > 3, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 75 and "SIGTERM: stopped; the same command goes on" in output
    assert "WRN-10-1, 2 seeds: waiting after" in output
    assert "going on at step" not in (tmp_path / "logs/WRN-10-1-2-seeds.log").read_text()
    finish(start(tmp_path))
    assert "going on at step" in (tmp_path / "logs/WRN-10-1-2-seeds.log").read_text()
