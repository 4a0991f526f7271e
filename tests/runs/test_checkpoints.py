"""Checkpoints come back as they were saved, and Orbax leaves the caller's logging alone."""

import json
import logging
import random
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from absl import logging as absl_logging

from cnn_jax.bench.kill_test import DELETING
from cnn_jax.errors import UserError
from cnn_jax.files import checksum, checksums, verify
from cnn_jax.runs import checkpoints
from cnn_jax.runs.checkpoints import Checkpoints
from tests.conftest import ROOT

OTHER = {"params": {"kernel": np.zeros((2, 3), np.float32)}, "step": np.int32(7)}
TREE = {"params": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "step": np.int32(7)}


def save(directory, errors):
    """A checkpoint for each validation error, of the steps 1, 2, ..."""
    kept = Checkpoints(directory)
    for step, error in enumerate(errors, 1):
        kept.save(step, TREE, seconds=1.0, validation_error=error)
    kept.close()


def test_the_latest_two_and_the_best_are_kept_and_the_newest_comes_back(tmp_path):
    save(tmp_path / "checkpoints", [0.5, 0.1, 0.4, 0.3])
    assert checkpoints.saved_steps(tmp_path / "checkpoints") == [2, 3, 4]
    assert checkpoints.best_step(tmp_path / "checkpoints") == 2
    again = Checkpoints(tmp_path / "checkpoints")
    state, about = again.restore_latest(TREE)
    _, before = again.restore_latest(TREE, limit=3)
    again.close()
    np.testing.assert_array_equal(state["params"]["kernel"], TREE["params"]["kernel"])
    assert (about["validation_top1_error"], before["validation_top1_error"]) == (0.3, 0.4)


def test_a_part_of_a_state_is_read_and_a_checkpoint_that_is_not_there_is_named(tmp_path):
    save(tmp_path / "checkpoints", [0.5])
    part = checkpoints.load_arrays(tmp_path / "checkpoints", 1, ("params",))
    np.testing.assert_array_equal(part["params"]["kernel"], TREE["params"]["kernel"])
    with pytest.raises(UserError, match="cannot read the checkpoint .*00000002"):
        checkpoints.load_arrays(tmp_path / "checkpoints", 2)


def test_orbax_is_silent_and_the_logging_of_the_caller_is_as_before(tmp_path, caplog):
    logger = logging.getLogger("absl")
    before = (absl_logging.get_verbosity(), logger.level, list(logger.filters))
    save(tmp_path / "checkpoints", [0.5])
    opened = Checkpoints(tmp_path / "checkpoints")
    checkpoints.load_arrays(tmp_path / "checkpoints", 1)
    absl_logging.warning("of the caller")
    opened.close()
    assert [record.getMessage() for record in caplog.records] == ["of the caller"]
    assert (absl_logging.get_verbosity(), logger.level, list(logger.filters)) == before


def flip(file, draw):
    """Changes one bit of a file."""
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def restore(directory):
    """What a run would go on from, and what is said of it."""
    opened = Checkpoints(directory)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = opened.restore_latest(TREE)
    finally:
        opened.close()
    return found, [str(one.message) for one in told]


def test_a_flipped_bit_is_told_or_harmless_wherever_it_is_and_however_little_is_read(tmp_path):
    save(tmp_path / "whole", [0.5])
    files = [f.relative_to(tmp_path / "whole") for f in (tmp_path / "whole").rglob("*")]
    files = [file for file in files if (tmp_path / "whole" / file).is_file()]
    draw, refused = random.Random(0), 0
    for number in range(60):
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "whole", copy)
        flip(copy / files[number % len(files)], draw)
        try:
            found = checkpoints.load_arrays(copy, 1, ("params",))
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            kernel = found["params"]["kernel"]
            np.testing.assert_array_equal(kernel, TREE["params"]["kernel"], strict=True)
        shutil.rmtree(copy)
    assert refused >= 10


def test_arrays_that_are_not_those_that_were_saved_are_named_with_the_other_checkpoints(
    tmp_path, monkeypatch
):
    with monkeypatch.context() as changed:  # as if a bit had flipped that Orbax does not notice
        changed.setattr(checkpoints, "checksums", lambda tree: checksums(OTHER))
        save(tmp_path, [0.5, 0.4])
    with pytest.raises(UserError, match="params/kernel is not what was saved.*by its step: 1$"):
        checkpoints.load_arrays(tmp_path, 2, ("params",))
    assert checkpoints.load_arrays(tmp_path, 2, ("step",)) == {"step": 7}


def test_a_checksum_tells_type_and_shape_too():
    kernel = TREE["params"]["kernel"]
    found = [checksums({"a": a}) for a in (kernel, kernel.view(np.int32), kernel.T.copy())]
    assert found[0] != found[1] and checksums({"a": kernel.reshape(3, 2)}) != found[0]
    with pytest.raises(ValueError, match="b is not what was saved"):
        verify({"a": kernel}, found[0] | {"b": 1})


def test_a_checkpoint_of_before_with_one_checksum_opens_and_is_verified_where_a_run_goes_on(
    tmp_path,
):
    save(tmp_path / "run" / "checkpoints", [0.5, 0.4])
    for step, value in (1, checksum(TREE)), (2, 3):
        about = {"seconds": 1.0, "checksum": value, "validation_top1_error": 0.5}
        folder = tmp_path / "run" / "checkpoints" / f"{step:08d}"
        (folder / "about" / "metadata").write_text(json.dumps(about))
    part = checkpoints.load_arrays(tmp_path / "run" / "checkpoints", 2, ("params",))
    np.testing.assert_array_equal(part["params"]["kernel"], TREE["params"]["kernel"])
    _, told = restore(tmp_path / "run" / "checkpoints")
    assert told == [
        "checkpoint 2 is damaged (its checksum is wrong); it is in "
        f"{tmp_path}/run/damaged now, and the run goes on"
    ]


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_where_the_newest_is_damaged_a_run_goes_on_from_the_one_before(tmp_path, damage):
    directory = tmp_path / "run" / "checkpoints"
    save(directory, [0.5, 0.4])
    about = directory / "00000002" / "about" / "metadata"
    content = about.read_bytes()
    if damage == "missing":
        about.unlink()
    else:
        about.write_bytes(content[:-3] if damage == "cut" else content.replace(b"0.4", b"0.0"))
    with pytest.warns(UserWarning, match="about/metadata is .*: it is not asked whether"):
        assert checkpoints.best_step(directory) == 1
    found, told = restore(directory)
    assert found[1]["validation_top1_error"] == 0.5 and len(told) == 1
    assert checkpoints.saved_steps(directory) == [1]
    assert (tmp_path / "run" / "damaged" / "00000002").is_dir()


def test_whatever_file_of_the_newest_is_cut_a_run_goes_on_from_it_or_from_the_one_before(tmp_path):
    save(tmp_path / "whole", [0.5, 0.4])
    files = [file for file in (tmp_path / "whole" / "00000002").rglob("*") if file.is_file()]
    before = 0
    for number, file in enumerate(files):
        directory = tmp_path / f"{number}" / "checkpoints"
        shutil.copytree(tmp_path / "whole", directory)
        cut = directory / file.relative_to(tmp_path / "whole")
        cut.write_bytes(cut.read_bytes()[:-3])
        (state, about), told = restore(directory)
        np.testing.assert_array_equal(state["params"]["kernel"], TREE["params"]["kernel"])
        assert (about["validation_top1_error"], len(told)) in ((0.4, 0), (0.5, 1)), cut
        before += len(told)
    assert before > 3


def test_the_metrics_that_orbax_kept_for_runs_of_before_may_be_damaged(tmp_path):
    save(tmp_path, [0.5])
    (tmp_path / "00000001" / "metrics").mkdir()
    (tmp_path / "00000001" / "metrics" / "metrics").write_text('{"validation_top1_er')
    found, told = restore(tmp_path)
    assert found[1]["validation_top1_error"] == 0.5 and not told


@pytest.mark.parametrize("content", ["[" * 100_000, '{"commit_timestamp_nsecs": 1e300}', "[]"])
def test_the_times_that_orbax_keeps_of_a_step_may_be_damaged(tmp_path, content):
    directory = tmp_path / "run" / "checkpoints"
    save(directory, [0.5, 0.4])
    for metadata in directory.rglob("_CHECKPOINT_METADATA"):
        metadata.write_text(content)
    found, told = restore(directory)
    assert found[1]["validation_top1_error"] == 0.4 and not told


def test_what_a_killed_deletion_left_is_no_checkpoint_and_goes_at_the_next_start(tmp_path):
    save(tmp_path, [0.5, 0.4, 0.3])
    shutil.copytree(tmp_path / "00000002", tmp_path / "00000001")  # by a version of before
    shutil.rmtree(tmp_path / "00000001" / "state" / "ocdbt.process_0")
    (tmp_path / ".deleted" / "00000000" / "state").mkdir(parents=True)
    assert 0 not in checkpoints.saved_steps(tmp_path)
    restore(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002", "00000003"]


def test_a_process_killed_in_mid_deletion_leaves_no_part_of_a_checkpoint(tmp_path):
    code = f"""{DELETING.replace("NTH", "6")}
from tests.runs.test_checkpoints import *
import pathlib
save(pathlib.Path("{tmp_path}"), [0.5, 0.4, 0.3])
"""
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == -9, process.stderr
    assert (tmp_path / ".deleted" / "00000001").is_dir()
    assert checkpoints.saved_steps(tmp_path) == [2, 3]
    restore(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002", "00000003"]
