"""A job that is killed at any moment, also in mid checkpoint, ends as if nobody had touched it.

The quick suite kills three times: while a checkpoint is written in training/test_failures.py, while
one is deleted in runs/test_checkpoints.py, and a sweep in the middle of a run in
sweeps/test_killed_sweep.py.
"""

import json
import shutil

import pytest
from rich.console import Console

from cnn_jax.bench import kill_jobs, kill_test
from cnn_jax.errors import UserError


@pytest.mark.slow
def test_jobs_killed_at_any_moment_end_byte_for_byte_like_the_undisturbed_one(tmp_path):
    killed = kill_test.kill_test(100, tmp_path / "jobs", Console(width=160))
    assert killed.kills == 100
    assert set(killed.by_job) == {"train", *kill_test.SHARES}
    assert set(killed.by_moment) == set(kill_test.MOMENTS)
    assert killed.while_saving >= 15, "too few kills hit a checkpoint half written"
    assert killed.while_deleting >= 3, "too few kills hit a checkpoint half deleted"
    assert killed.twice >= 40, "too few processes were killed that went on after a kill"


def test_few_kills_are_all_of_a_run_and_none_is_no_test(tmp_path, monkeypatch):
    killed = []

    class Tester:
        def __init__(self, job, *_):
            self.name = job.name

        def prepare(self):
            pass

        def kill(self, kills):
            killed.append((self.name, kills))

    monkeypatch.setattr(kill_test, "Tester", Tester)
    kill_test.kill_test(2, tmp_path / "two", Console(quiet=True))
    assert killed == [("train", 2)]
    with pytest.raises(UserError, match="tests nothing"):
        kill_test.kill_test(0, tmp_path / "none", Console(quiet=True))


DAMAGES = {
    "a checkpoint left over": lambda run: shutil.copytree(
        run / "checkpoints" / "00000040", run / "checkpoints" / "00000020"
    ),
    "a file left over": lambda run: (run / ".metrics.jsonl.0.tmp").touch(),
    "another status": lambda run: (run / "status.json").write_text(
        json.dumps({"status": "failed"})
    ),
    "other constants": lambda run: (run / "preprocessing.npz").write_bytes(b""),
    "no curves": lambda run: (run / "curves.png").unlink(),
    "another folder": lambda run: (run / "damaged").mkdir(),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_whatever_differs_in_a_run_is_found(tiny_run, tmp_path, what):
    shutil.copytree(tiny_run, tmp_path / "run")
    kill_jobs.Training().compare(tiny_run, tmp_path / "run")
    DAMAGES[what](tmp_path / "run")
    with pytest.raises(UserError):
        kill_jobs.Training().compare(tiny_run, tmp_path / "run")


def test_an_array_of_an_older_checkpoint_that_differs_is_found(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    shutil.rmtree(checkpoints / "00000040")
    shutil.copytree(checkpoints / "00000060", checkpoints / "00000040")
    with pytest.raises(UserError, match="differs from .* in .* of step 40"):
        kill_jobs.compare(tiny_run, tmp_path / "run")
