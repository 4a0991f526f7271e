"""Full disks, signals, compilations and transfers at the wrong time end in one line."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import cnn_jax
from cnn_jax.bench.kill_jobs import compare
from cnn_jax.bench.kill_jobs import unfinished as half_written
from cnn_jax.cluster import preemption
from cnn_jax.errors import UserError
from cnn_jax.files import drop_broken
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.training.compiler import Guards
from cnn_jax.training.train import train
from tests.conftest import DENSE, ROOT, each_program_once, wait_until

QUIET = Console(quiet=True)


@pytest.fixture
def unfinished(dense_run, tmp_path):
    """A run that lost its last checkpoint, and its "done"."""
    workdir = tmp_path / "run"
    shutil.copytree(dense_run, workdir)
    (workdir / "status.json").unlink()
    shutil.rmtree(workdir / "checkpoints" / "00000060")
    return workdir


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_checkpoint_that_cannot_be_written_ends_in_one_line_and_the_run_goes_on_later(
    dense_config, dense_run, unfinished, capfd
):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # bytes, of each file
    try:
        with pytest.raises(UserError) as caught:
            train(dense_config, unfinished, QUIET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot write a checkpoint" in str(caught.value) and "\n" not in str(caught.value)
    assert "(File too large); the one of step 40 is whole" in str(caught.value)
    assert cnn_jax.load_run(unfinished).status == "failed"
    assert capfd.readouterr().err == ""
    with each_program_once():
        train(dense_config, unfinished, QUIET)
    compare(dense_run, unfinished)


def test_a_run_killed_while_it_writes_a_checkpoint_goes_on_and_ends_bit_for_bit_the_same(
    dense_config, dense_run, unfinished
):
    # It dies where Orbax has written the arrays of step 60, and has not yet given them their name.
    code = f"""
import os, signal, sys
import launch

def kill(event, arguments):
    if event == "os.rename" and "state.orbax-checkpoint-tmp" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
launch.main(["train", *{[f"--config.{override}" for override in DENSE]}, "--workdir={unfinished}"])
"""
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert half_written(unfinished) == ["00000060.orbax-checkpoint-tmp"]
    assert cnn_jax.load_run(unfinished).steps[-1] == 40
    with (unfinished / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "spl')  # and in mid line
    with each_program_once():
        train(dense_config, unfinished, QUIET)
    compare(dense_run, unfinished)


def test_a_directory_whose_config_was_half_written_is_begun_again(dense_config, tmp_path):
    for name in (".lock", "config.json.tmp"):
        (tmp_path / name).write_text("{")
    RunDirectory(tmp_path, dense_config).close()


def test_a_signal_before_the_first_step_ends_in_one_line_and_code_75(tmp_path):
    # A build that takes for ever, as compiling a large network may.
    code = f"""
import pathlib, time
import launch
from cnn_jax.training import train

def build(*arguments, **options):
    pathlib.Path("{tmp_path}/building").touch()
    time.sleep(9999)

train.build = build
launch.main(["train", "--workdir={tmp_path}/run"])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until((tmp_path / "building").exists, process)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=600)
    assert (process.returncode, output) == (75, "")
    assert errors.startswith("error: SIGTERM: stopped before there was anything to save")
    assert errors.count("\n") == 1


def test_after_the_first_step_a_signal_is_noted_and_a_second_sigint_ends_at_once():
    ended, errors = threading.Event(), []
    with preemption.listening(lambda error: (errors.append(error), ended.set())) as stop:
        stop.can_save = True
        os.kill(os.getpid(), signal.SIGINT)
        assert not ended.wait(0.3) and stop.requested == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
        assert ended.wait(600) and errors[0].exit_code == 1


def test_where_nobody_ends_the_process_the_main_thread_gets_the_error():
    with (
        pytest.raises(UserError, match="SIGTERM: stopped before") as caught,
        preemption.listening(),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)
    assert caught.value.exit_code == 75


def test_a_second_compilation_of_a_program_is_told():
    step = jax.jit(lambda x: x + 1)
    with Guards() as guards, warnings.catch_warnings(record=True) as caught:
        for first, size in enumerate([3, 3, 4]):
            argument = jnp.zeros(size)
            with guards.dispatch(first, count=1, phase=0):
                step(argument)
    assert [str(w.message)[:24] for w in caught] == ["compiled again at step 2"]


def test_an_implicit_transfer_is_an_error_that_names_it():
    told = pytest.raises(UserError, match="implicit transfer at step 7: .*int32")
    with Guards() as guards, told, guards.dispatch(7, count=1, phase=0):
        jax.jit(lambda x: x + 1)(np.arange(3, dtype=np.int32))


def test_a_compiled_program_that_a_kill_cut_short_is_removed(tmp_path):
    whole = zlib.compress(bytes(range(256)) * 100)
    contents = {"a-cache": whole, "b-cache": whole[:-9], "c-cache": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    drop_broken(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-cache", "checked"]
