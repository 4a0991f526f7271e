"""A run keeps what it learnt: it stops, goes on, refuses and recovers as it says."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from rich.console import Console

import cnn_jax
from cnn_jax import config as configs
from cnn_jax.errors import UserError
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.training.run_writer import RunWriter
from cnn_jax.training.train import train
from tests.conftest import TINY, launch_here

QUIET = Console(quiet=True)


def assert_same_end(run, other):
    """Two runs ended with the same variables, bit for bit, and metrics, but for the times."""
    first, second = (cnn_jax.load_run(path) for path in (run, other))
    jax.tree.map(np.testing.assert_array_equal, first.variables(), second.variables())
    drop = ["seconds", "images_per_second"]
    assert first.history.drop(columns=drop).equals(second.history.drop(columns=drop))


def test_a_run_stopped_by_sigterm_in_mid_epoch_ends_like_the_uninterrupted_one(
    tiny_run, tmp_path, monkeypatch
):
    workdir, training = tmp_path / "run", RunWriter.log_steps
    command = ["train", *(f"--config.{override}" for override in TINY), f"--workdir={workdir}"]

    def signaled(self, first_step, values, waited):
        training(self, first_step, values, waited)
        if first_step == 25:  # the second program of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "log_steps", signaled)
        stopped = launch_here(*command)
    assert stopped.returncode == 75, stopped.stderr
    assert stopped.stderr.startswith("error: SIGTERM: saved at step")
    run = cnn_jax.load_run(workdir)
    assert run.status == "preempted" and run.steps[-1] == 30

    done = launch_here(*command)
    assert done.returncode == 0, done.stderr
    assert "going on at step 30" in done.stdout
    assert_same_end(workdir, tiny_run)


def test_a_finished_run_is_not_run_again(tiny_config, tiny_run):
    before = (tiny_run / "metrics.jsonl").read_bytes()
    train(tiny_config, tiny_run, QUIET)
    assert (tiny_run / "metrics.jsonl").read_bytes() == before


def test_another_config_in_the_same_directory_is_refused_with_the_difference(tiny_config, tiny_run):
    config = tiny_config.copy_and_resolve_references()
    config.model.width = 3
    with pytest.raises(UserError, match="differs in model.width: 1 there, 3 here"):
        train(config, tiny_run, QUIET)


def test_a_directory_of_other_files_is_refused(tiny_config, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="has files that are not a run's"):
        train(tiny_config, tmp_path, QUIET)


def test_a_directory_that_cannot_be_written_is_refused(tiny_config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the run directory .*--workdir"):
        train(tiny_config, tmp_path / "file" / "run", QUIET)


def test_two_processes_do_not_train_in_one_directory(tiny_config, tmp_path):
    first = RunDirectory(tmp_path / "run", tiny_config)
    with pytest.raises(UserError, match="another process is training"):
        RunDirectory(tmp_path / "run", tiny_config)
    first.close()


def damage_truncate(folder):
    for file in (folder / "state").rglob("*"):
        if file.is_file() and file.stat().st_size > 1000:
            os.truncate(file, file.stat().st_size // 2)


def damage_flip(folder):
    largest = max((folder / "state").rglob("*"), key=lambda f: f.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip])
def test_a_damaged_latest_checkpoint_is_set_aside_and_the_one_before_taken(
    damage, tiny_config, tiny_run, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(tiny_run, workdir)
    (workdir / "status.json").unlink()
    damage(workdir / "checkpoints" / "00000060")
    with pytest.warns(UserWarning, match="checkpoint 60 is damaged .*and the run goes on"):
        train(tiny_config, workdir, QUIET)
    assert (workdir / "damaged" / "00000060").is_dir()
    assert_same_end(workdir, tiny_run)


def test_checkpoints_that_are_all_damaged_are_left_where_they_are(tiny_config, tiny_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(tiny_run, workdir)
    (workdir / "status.json").unlink()
    for folder in (workdir / "checkpoints").iterdir():
        damage_truncate(folder)
    with pytest.raises(UserError, match="no checkpoint in .* can be read"):
        train(tiny_config, workdir, QUIET)
    assert cnn_jax.load_run(workdir).steps == cnn_jax.load_run(tiny_run).steps


def test_a_run_whose_data_has_changed_is_refused_and_kept(tiny_config, tiny_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(tiny_run, workdir)
    (workdir / "status.json").unlink()
    facts = json.loads((workdir / "dataset.json").read_text())
    facts["examples"]["train"] += 1
    (workdir / "dataset.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="data is not what the run .* began with: examples"):
        train(tiny_config, workdir, QUIET)
    assert cnn_jax.load_run(workdir).steps == cnn_jax.load_run(tiny_run).steps


def test_a_mistake_that_was_corrected_is_no_other_config(tiny_config, tmp_path):
    config = tiny_config.copy_and_resolve_references()
    config.model.dropout = 7.0
    with pytest.raises(UserError, match="dropout 7.0"):
        train(config, tmp_path / "run", QUIET)
    config.model.dropout = 0.5
    RunDirectory(tmp_path / "run", config).close()


def test_the_environment_of_a_start_on_another_machine_is_added(tiny_config, tiny_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(tiny_run, workdir)
    file = workdir / "environment.json"
    before = json.loads(file.read_text())
    file.write_text(json.dumps({**before, "cpus": 96}))
    directory = RunDirectory(workdir, tiny_config)
    for _ in range(2):
        directory.write_start(
            json.loads((workdir / "dataset.json").read_text()), None, before["compiler_options"]
        )
    directory.close()
    after = json.loads(file.read_text())
    assert after["cpus"] == 96 and [later["cpus"] for later in after["later"]] == [before["cpus"]]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    dense_config, tmp_path
):
    config = dense_config.copy_and_resolve_references()
    config.unlock()
    config.training.steps_per_dispatch = 20  # one program
    config.learning_rate = configs.ConfigDict(
        {
            "schedule": "step",
            "rate": 0.1,
            "drops": ["25 steps"],
            "factor": 1e30,
            "warmup": "0 steps",
            "warmup_shape": "constant",
            "warmup_rate": 0.0,
        }
    )
    with pytest.raises(UserError, match="is not finite at step (2[6-9]|3.): stopped") as caught:
        train(config, tmp_path / "run", QUIET)
    assert caught.value.exit_code == 3
    run = cnn_jax.load_run(tmp_path / "run")
    assert run.status == "diverged" and run.steps == [20]
    finite = jax.tree.map(lambda leaf: bool(np.isfinite(leaf).all()), run.variables())
    assert all(jax.tree.leaves(finite))


def test_a_run_directory_tells_everything(tiny_config, tiny_run):
    assert json.loads((tiny_run / "config.json").read_text()) == tiny_config.to_dict()
    environment = json.loads((tiny_run / "environment.json").read_text())
    assert environment["packages"]["jax"] == jax.__version__ and environment["devices"]
    assert json.loads((tiny_run / "status.json").read_text())["status"] == "done"
    assert (tiny_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert any((tiny_run / "tensorboard").iterdir())
