"""Small files of a run that are damaged: made again where that can be, else named in one line."""

import contextlib
import json
import shutil
import warnings

import numpy as np
import pytest
from rich.console import Console

import cnn_jax
from cnn_jax.analysis import run_records
from cnn_jax.errors import UserError
from cnn_jax.runs import results, sweep_file
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.sweeps import sweep
from cnn_jax.training.train import train

QUIET = Console(quiet=True)
SMALL = ("config.json", "dataset.json", "environment.json", "status.json", "preprocessing.npz")
DAMAGES = {
    "empty": lambda content: b"",
    "{}": lambda content: b"{}",
    "[]": lambda content: b"[]",
    "cut": lambda content: content[: len(content) // 2],
    "no text": lambda content: b"\xff" + content,
}


@pytest.fixture
def run(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    return tmp_path / "run"


def damage(file, how):
    file.write_bytes(DAMAGES[how](file.read_bytes()))


def opened(run, config):
    """The status of a run that is opened for training, and what is said of it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        directory = RunDirectory(run, config)
        directory.close()
    return directory.status, [str(one.message) for one in told]


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", SMALL)
def test_a_damaged_file_is_set_aside_and_named_where_a_run_goes_on(run, tiny_config, name, how):
    damage(run / name, how)
    damaged = (run / name).read_bytes()
    status, told = opened(run, tiny_config)
    assert len(told) == 1 and told[0].startswith(f"{run / name} is damaged: "), told
    assert "\n" not in told[0] and told[0].endswith(
        f"it is in {run}/damaged now, and the run goes on"
    )
    assert (run / "damaged" / name).read_bytes() == damaged
    # A finished run that has lost what it is made of is not done: the next start makes it again.
    whole = name in ("config.json", "environment.json")
    assert status == ("done" if whole else "new" if name == "status.json" else "running")
    assert opened(run, tiny_config)[1] == []


def test_all_of_them_are_made_again_and_the_run_is_as_it_was(run, tiny_run, tiny_config):
    for name in SMALL:
        damage(run / name, "cut")
    with pytest.warns(UserWarning, match="is damaged"):
        train(tiny_config, run, QUIET)
    for name in set(SMALL) - {"preprocessing.npz"}:
        assert json.loads((run / name).read_text()) == json.loads((tiny_run / name).read_text())
    again, before = (cnn_jax.load_run(path) for path in (run, tiny_run))
    assert again.preprocessing.std == before.preprocessing.std
    assert again.history.equals(before.history) and again.status == "done"


@pytest.mark.parametrize("how", DAMAGES)
def test_a_run_is_read_without_what_can_be_done_without(run, how):
    for name in ("environment.json", "status.json"):
        damage(run / name, how)
    (run / "evaluations").mkdir(exist_ok=True)
    for file in (run / "evaluations" / results.FILE, run / "measurements.json"):
        file.write_bytes(b"{")
    with pytest.warns(UserWarning) as told:
        record = cnn_jax.load_run(run).record()
    assert len({str(one.message) for one in told}) == 4
    assert all("is damaged: " in str(one.message) for one in told)
    found = [record[name] for name in ("environment", "status", "protocols", "measurements")]
    assert found == [{}, "running", [], {}]
    assert record["summary"]["test"]["step"] == 60


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("config.json", "config"),
        ("dataset.json", "image_shape"),
        ("preprocessing.npz", "preprocessing"),
    ],
)
def test_without_what_it_needs_a_reader_says_who_makes_it_again(run, name, attribute, how):
    damage(run / name, how)
    with pytest.raises(UserError) as caught:
        getattr(cnn_jax.load_run(run), attribute)
    assert str(caught.value).startswith(f"{run / name} is damaged: ")
    assert str(caught.value).endswith("the command that trained the run makes it again")


def test_a_bit_in_the_header_of_the_preprocessing_is_told_too(run):
    file = run / "preprocessing.npz"
    shape = str(np.load(file)["mean"].shape).encode()
    content = file.read_bytes()
    assert content.count(shape) >= 1
    file.write_bytes(content.replace(shape, shape.replace(b"1", b"0"), 1))
    with pytest.raises(UserError, match="preprocessing.npz is damaged"):
        _ = cnn_jax.load_run(run).preprocessing


def test_a_damaged_run_among_others_is_left_out_of_tables_and_reports(run, tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "whole")
    damage(run / "config.json", "cut")
    with pytest.warns(UserWarning, match="config.json is damaged.*; this run is left out"):
        (row,) = cnn_jax.load_runs(tmp_path).to_dict("records")
    assert row["path"] == str(tmp_path / "whole")
    with pytest.warns(UserWarning, match="config.json is damaged.*; this run is left out"):
        (record,) = run_records.find(tmp_path)
    assert record["recipe"]["row"] == "whole"


def test_what_was_set_aside_is_no_run(run, tiny_config):
    damage(run / "config.json", "cut")
    with pytest.warns(UserWarning):
        RunDirectory(run, tiny_config).close()
    assert cnn_jax.load_runs(run).path.tolist() == [str(run)]


def test_a_directory_that_is_deleted_while_a_run_is_in_it_is_named_and_the_run_begins_anew(
    tiny_config, tmp_path
):
    run = tmp_path / "run"

    def deleting(setup, path):
        def run_steps(*arguments):
            shutil.rmtree(path, ignore_errors=True)
            return setup.run_steps(*arguments)

        return contextlib.nullcontext(run_steps)

    with pytest.raises(UserError, match="was deleted while the run was in it; the same command"):
        train(tiny_config, run, QUIET, watch=deleting)
    assert not run.exists() or not any(run.iterdir())
    # A checkpoint that was being written may have left a part of itself.
    (run / "checkpoints" / "00000020.orbax-checkpoint-tmp").mkdir(parents=True)
    assert opened(run, tiny_config) == ("new", [])


def test_the_list_of_a_sweep_that_is_damaged_is_written_again_by_its_command(tmp_path):
    facts = {"rows": [], "seeds": 2}
    (tmp_path / sweep_file.NAME).write_text("{")
    with pytest.warns(UserWarning, match=r"sweep.json is damaged .*; it is in .*damaged now"):
        sweep.write(sweep.Sweep(tmp_path, (), facts))
    assert json.loads((tmp_path / sweep_file.NAME).read_text()) == facts
    assert (tmp_path / "damaged" / sweep_file.NAME).read_text() == "{"
