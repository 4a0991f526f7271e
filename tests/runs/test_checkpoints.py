"""Checkpoints come back as they were saved, and Orbax leaves the caller's logging alone."""

import logging

import numpy as np
import pytest
from absl import logging as absl_logging

from cnn_jax.errors import UserError
from cnn_jax.runs import checkpoints
from cnn_jax.runs.checkpoints import Checkpoints

TREE = {"params": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "step": np.int32(7)}


def save(directory, errors):
    """A checkpoint for each validation error, of the steps 1, 2, ..."""
    kept = Checkpoints(directory, keep_best=True)
    for step, error in enumerate(errors, 1):
        kept.save(step, TREE, seconds=1.0, validation_error=error)
    kept.close()


def test_the_latest_two_and_the_best_are_kept_and_the_newest_comes_back(tmp_path):
    save(tmp_path / "checkpoints", [0.5, 0.1, 0.4, 0.3])
    assert checkpoints.saved_steps(tmp_path / "checkpoints") == [2, 3, 4]
    assert checkpoints.best_step(tmp_path / "checkpoints") == 2
    again = Checkpoints(tmp_path / "checkpoints", keep_best=True)
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
    opened = Checkpoints(tmp_path / "checkpoints", keep_best=True)
    checkpoints.load_arrays(tmp_path / "checkpoints", 1)
    absl_logging.warning("of the caller")
    opened.close()
    assert [record.getMessage() for record in caplog.records] == ["of the caller"]
    assert (absl_logging.get_verbosity(), logger.level, list(logger.filters)) == before
