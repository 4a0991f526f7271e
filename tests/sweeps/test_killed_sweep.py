"""A sweep that is killed at any moment, alone or with all its runs, ends as if undisturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

import cnn_jax
from cnn_jax.bench.kill_jobs import RECIPE, compare
from cnn_jax.training.train import train
from tests.conftest import DENSE, ROOT, launch_here, wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="runs follow their sweep on Linux alone")


LONG = [*DENSE, "training.duration=20 epochs"]  # which lets itself be killed


def sweep(workdir, recipe, *arguments):
    """The words of a command."""
    config = [f"--config.{override}" for override in recipe]
    return ["sweep", f"--workdir={workdir}", *config, "--parallel=2", *arguments]


def start(workdir, recipe, *arguments):
    """A sweep in a process of its own."""
    return subprocess.Popen(
        [sys.executable, ROOT / "launch.py", *sweep(workdir, recipe, *arguments)],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, output
    return output


def children(pid):
    """The processes of its runs."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):  # it has just ended
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def kill(process, all_of_them):
    """SIGKILL to the sweep, and at the same moment to its runs or not."""
    runs = children(process.pid) if all_of_them else []
    for pid in [process.pid, *runs]:
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def lines(workdir):
    return sum(file.read_text().count("\n") for file in workdir.glob("*/*/metrics.jsonl"))


def assert_same_ends(one, other, count):
    runs = [file.parent.relative_to(one) for file in sorted(one.glob("*/*/config.json"))]
    assert len(runs) == count
    for run in runs:
        compare(one / run, other / run)
        assert json.loads((other / run / "status.json").read_text()) == {"status": "done"}


@linux
def test_a_sweep_killed_in_the_middle_of_a_run_goes_on_and_ends_the_same(tmp_path):
    grid = "--grid=learning_rate.rate=0.05"
    config = cnn_jax.load_config(
        f"{ROOT}/experiments/quickstart.py", [*LONG, "learning_rate.rate=0.05"]
    )
    train(config, tmp_path / "undisturbed" / "rate-0.05" / "seed-0", Console(quiet=True))
    process = start(tmp_path / "killed", LONG, grid)
    wait_until(lambda: lines(tmp_path / "killed"), process)
    kill(process, all_of_them=False)
    output = finish(start(tmp_path / "killed", LONG, grid))  # at once: the run may be saving still
    assert "1 done" in output
    assert_same_ends(tmp_path / "undisturbed", tmp_path / "killed", 1)
    again = launch_here(*sweep(tmp_path / "killed", LONG, grid))
    assert again.returncode == 0 and "1 done" in again.stdout
    assert "running" not in again.stdout, "a finished run was run again"


@linux
@pytest.mark.slow
def test_a_sweep_of_twelve_runs_killed_five_times_at_random_ends_the_same(tmp_path):
    draw = random.Random(0)
    grid = ["--grid=learning_rate.rate=0.05,0.1,0.2", "--seeds=4"]
    begin = time.monotonic()
    finish(start(tmp_path / "undisturbed", RECIPE, *grid))
    life, kills = time.monotonic() - begin, 0
    while kills < 5:
        process = start(tmp_path / "killed", RECIPE, *grid)
        try:
            process.wait(draw.uniform(0.03, 0.15) * life)  # five are done before it ends
        except subprocess.TimeoutExpired:
            kill(process, all_of_them=bool(kills % 2))
            kills += 1
        else:
            pytest.fail(f"the sweep ended after {kills} kills: {process.communicate()[0]}")
    output = finish(start(tmp_path / "killed", RECIPE, *grid))
    assert "12 done" in output
    assert_same_ends(tmp_path / "undisturbed", tmp_path / "killed", 12)
