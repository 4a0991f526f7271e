"""Two processes train as one does, stop together, and do not wait for one that is lost."""

import os
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import cnn_jax
from cnn_jax.cluster import heartbeat, join
from cnn_jax.errors import UserError
from tests.conftest import DENSE, ROOT, TINY, count_lines, wait_until

TIMEOUT = 900  # seconds; no test depends on how fast the machine is
ENDLESS = "--config.training.duration=100_000 epochs"
ONE_PROGRAM = "--config.training.steps_per_dispatch=20"  # to compile, of an epoch
# At the quickstart's rate of 0.1 what is rounded otherwise grows a hundredfold in twenty steps.
CONFIG = [*TINY, "learning_rate.rate=0.01"]


def start(workdir, *arguments, devices=1, overrides=CONFIG):
    """The tiny run in a process with so many CPU devices."""
    config = [f"--config.{override}" for override in overrides]
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, ROOT / "launch.py", "train", *config, f"--workdir={workdir}", *arguments],
        env={**os.environ, "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_two(workdir, *arguments, overrides=CONFIG):
    """Two processes of one run, with a device each."""
    where = [f"--coordinator=127.0.0.1:{free_port()}", "--num_processes=2"]
    return [
        start(workdir, *arguments, *where, f"--process_id={i}", overrides=overrides)
        for i in range(2)
    ]


def ended_by(reason, errors):
    """Whether a process ended in this line; before it XLA may complain of a slow compilation."""
    return errors.splitlines()[-1].startswith(f"error: {reason}") and "Traceback" not in errors


def wait_for_lines(process, workdir, count):
    """Until the metrics have so many lines."""
    wait_until(lambda: count_lines(workdir / "metrics.jsonl") >= count, process)


def assert_like(run, other):
    """Losses agree within 1e-5, variables 1e-4, and the metrics have the same lines."""
    assert run.history[["step", "split"]].equals(other.history[["step", "split"]])
    np.testing.assert_allclose(run.history.loss, other.history.loss, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        run.variables(),
        other.variables(),
    )


# Batch norms see the images of both processes.
@pytest.mark.parametrize("network", [DENSE, pytest.param(CONFIG, marks=pytest.mark.slow)])
def test_two_processes_give_what_one_with_two_devices_gives(network, tmp_path):
    single = start(tmp_path / "alone", ONE_PROGRAM, devices=2, overrides=network)
    output, errors = single.communicate(timeout=TIMEOUT)
    assert single.returncode == 0, output + errors
    both = start_two(tmp_path / "run", ONE_PROGRAM, overrides=network)
    outputs = [process.communicate(timeout=TIMEOUT) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert "epoch 3" in outputs[0][0] and outputs[1] == ("", "")
    run = cnn_jax.load_run(tmp_path / "run")
    assert_like(run, cnn_jax.load_run(tmp_path / "alone"))
    environment = run.record()["environment"]
    assert (environment["processes"], environment["devices_per_process"]) == (2, 1)


@pytest.mark.slow
def test_two_processes_share_a_stream_and_give_what_one_with_two_devices_gives(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in [("train", 200), ("test", 45)]:
        for i in range(count):
            file = tmp_path / "images" / split / str(i % 3) / f"{i:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 100, (8, 8, 3), np.uint8) + np.uint8(70 * (i % 3))
            Image.fromarray(pixels).save(file)
    (tmp_path / "images" / "train" / "1" / "004.png").write_bytes(b"no image")
    stream = [
        *("data.name=folder", f"data.path={tmp_path / 'images'}", "data.storage=stream"),
        *("data.on_error=skip", "evaluation.splits=['test']"),
    ]
    arguments = [f"--config.{field}" for field in stream]
    single = start(tmp_path / "alone", *arguments, devices=2)
    output, errors = single.communicate(timeout=TIMEOUT)
    assert single.returncode == 0, output + errors
    both = start_two(tmp_path / "run", *arguments)
    outputs = [process.communicate(timeout=TIMEOUT) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    run, alone = (cnn_jax.load_run(tmp_path / name) for name in ("run", "alone"))
    assert_like(run, alone)
    skipped = [r.history[r.history.split == "train"].skipped.tolist() for r in (run, alone)]
    assert skipped[0] == skipped[1] and sum(skipped[0]) > 0


@pytest.mark.slow
def test_a_signal_to_one_stops_all_a_lost_one_ends_all_and_one_process_goes_on(tmp_path):
    workdir = tmp_path / "run"
    both = start_two(workdir)
    wait_for_lines(both[0], workdir, 1)  # of 15: a test that is not scheduled for long comes late
    both[1].send_signal(signal.SIGTERM)
    errors = [process.communicate(timeout=TIMEOUT)[1] for process in both]
    assert [process.returncode for process in both] == [75, 75], errors
    assert ended_by("SIGTERM: saved at step", errors[0]), errors[0]
    saved = cnn_jax.load_run(workdir).steps[-1]
    assert saved < 60

    both = start_two(workdir)
    wait_for_lines(both[0], workdir, len(cnn_jax.load_run(workdir).history) + 1)
    both[1].kill()
    error = both[0].communicate(timeout=TIMEOUT)[1]
    assert both[0].returncode == 1
    assert ended_by("process 1 of 2 is lost", error), error
    both[1].communicate()

    process = start(workdir, devices=2)
    output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    assert "going on at step" in output
    single = start(tmp_path / "alone", devices=2)
    output, errors = single.communicate(timeout=TIMEOUT)
    assert single.returncode == 0, output + errors
    assert_like(cnn_jax.load_run(workdir), cnn_jax.load_run(tmp_path / "alone"))


def test_the_loss_of_the_coordinating_process_ends_the_others_in_one_line(tmp_path):
    both = start_two(tmp_path / "run", ENDLESS, ONE_PROGRAM, overrides=DENSE)
    wait_for_lines(both[0], tmp_path / "run", 1)
    both[0].kill()
    output, error = both[1].communicate(timeout=TIMEOUT)
    assert both[1].returncode == 1 and output == ""
    assert ended_by("the process that coordinates", error), error
    both[0].communicate()


def test_processes_that_do_not_meet_end_in_one_line():
    code = (
        "from cnn_jax.cluster import join, processes, supervisor; processes.MEET_SECONDS = 2;"
        "supervisor.fork(); processes.Group(join.Address('127.0.0.1:1', 1, 2), 30, join.Exit())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the processes did not all meet in time")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_process_that_comes_to_the_first_step_later_than_gloo_waits_is_waited_for():
    code = """
import sys, time
import jax
from jax.experimental import multihost_utils
from cnn_jax.cluster import join, processes

port, index = map(int, sys.argv[1:])
group = processes.Group(join.Address(f"127.0.0.1:{port}", index, 2), 30, join.Exit())
jax.devices()
time.sleep(35 * index)  # Gloo waits 30 s for the others; compiling may take as long
print(multihost_utils.process_allgather(index).tolist(), file=sys.stderr)
group.finish()
"""
    port = free_port()
    command = [sys.executable, "-c", code, str(port)]
    both = [
        subprocess.Popen([*command, str(index)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for index in range(2)
    ]
    errors = [process.communicate(timeout=TIMEOUT)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert all("[0, 1]" in text for text in errors), errors


class Service:
    """The key-value store of JAX's coordinator, in memory."""

    def __init__(self):
        self.values = {}

    def key_value_set(self, key, value, allow_overwrite):
        self.values[key] = value

    def key_value_dir_get(self, folder):
        return list(self.values.items())


def test_a_process_that_lives_and_does_not_move_is_a_hang(monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    service, ended = Service(), []
    both = [heartbeat.Heartbeat(service, index, 2, 0.3, ended.append) for index in range(2)]
    for index, each in enumerate(both):
        each.progress(10 + index)
    error = both[0].verdict()
    assert "no progress for" in str(error) and "0: 10, 1: 11" in str(error)
    for each in both:
        each.stop()


def test_what_ends_one_process_is_told_by_the_others_with_its_code(monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    service, ended = Service(), []
    both = [heartbeat.Heartbeat(service, index, 2, 60, ended.append) for index in range(2)]
    both[1].leave("no folder /data", 2)
    error = both[0].verdict()
    assert str(error) == "process 1 ended: no folder /data" and error.exit_code == 2
    for each in both:
        each.stop()


def test_a_task_of_slurm_and_a_host_of_a_tpu_pod_know_that_they_are_several():
    assert join.is_announced({"SLURM_STEP_NUM_TASKS": "4"})
    assert join.is_announced({"TPU_WORKER_HOSTNAMES": "a,b"})
    assert not join.is_announced({"SLURM_NTASKS": "4"})  # a batch script without srun
    assert not join.is_announced({"SLURM_STEP_NUM_TASKS": "1", "TPU_WORKER_HOSTNAMES": "a"})


@pytest.mark.parametrize("given", [("host:1", 0, None), ("host", 0, 2), ("host:1", 2, 2)])
def test_arguments_for_several_processes_that_do_not_go_together_are_refused(given):
    with pytest.raises(UserError, match="--coordinator"):
        join.find_address(*given)
