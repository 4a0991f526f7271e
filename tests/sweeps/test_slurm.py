"""Sweeps on a real SLURM, which the fixture starts on this machine."""

import json
import subprocess
import sys

import pytest

import cnn_jax
from cnn_jax.bench.kill_jobs import RECIPE
from tests.conftest import ROOT, count_lines, wait_until

pytestmark = pytest.mark.slow


def start(slurm, workdir, *arguments):
    """A sweep as jobs; the last arguments win."""
    overrides = [f"--config.{override}" for override in RECIPE]
    command = [sys.executable, ROOT / "launch.py", "sweep", f"--workdir={workdir}", *overrides]
    return subprocess.Popen(
        [*command, "--cluster=slurm", "--time_limit=30", *arguments],
        env=slurm,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def job_ids(workdir):
    return json.loads((workdir / "slurm" / "jobs.json").read_text())


def wait_for_lines(workdir, count):
    wait_until(lambda: count_lines(workdir / "metrics.jsonl") >= count)


def test_a_sweep_is_a_job_array(slurm, tmp_path):
    output = finish(start(slurm, tmp_path / "sweep", "--grid=learning_rate.rate=0.05,0.1"))
    assert "2 done" in output
    ids = job_ids(tmp_path / "sweep")
    assert set(ids) == {"rate-0.05/seed-0", "rate-0.1/seed-0"}
    arrays = {job.partition("_")[0] for job in ids.values()}
    assert len(arrays) == 1 and all("_" in job for job in ids.values())
    again = finish(start(slurm, tmp_path / "sweep", "--grid=learning_rate.rate=0.05,0.1"))
    assert "submitted 0 runs" in again


def test_a_run_of_two_processes(slurm, tmp_path):
    finish(start(slurm, tmp_path / "sweep", "--grid=model.width=1", "--processes=2"))
    run = cnn_jax.load_run(tmp_path / "sweep" / "width-1" / "seed-0")
    assert run.status == "done"
    assert run.record()["environment"]["processes"] == 2


def test_a_job_that_is_stopped_and_queued_again_goes_on(slurm, tmp_path):
    workdir = tmp_path / "sweep"
    long = "--config.training.duration=600 steps"
    process = start(slurm, workdir, "--grid=model.width=1", long)
    path = workdir / "width-1" / "seed-0"
    wait_for_lines(path, 5)
    (job,) = job_ids(workdir).values()
    # What SLURM sends at a preemption and at the time limit; the job itself asks to be queued.
    subprocess.run(["scancel", "--signal=TERM", job], env=slurm, check=True)
    wait_until(lambda: json.loads((path / "status.json").read_text())["status"] == "preempted")
    saved = cnn_jax.load_run(path).steps[-1]
    assert 0 < saved < 600
    output = finish(process)
    assert "1 done" in output
    logs = "".join(file.read_text() for file in (workdir / "slurm").glob("*_log.out"))
    assert f"going on at step {saved}" in logs
    assert cnn_jax.load_run(path).summary["test"]["step"] == 600
