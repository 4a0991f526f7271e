"""A process ends in time, is told of, and gives its last line."""

import os

import pytest

from cnn_jax.accelerators import campaign_process as process
from cnn_jax.cluster.preemption import Preemption
from cnn_jax.errors import STOPPED, UserError

SAVES = """
import signal, sys, time
def save(*_):
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print("started", flush=True)
time.sleep(60)
"""


def launch(code, log, seconds=60.0, stop=None):
    return process.launch(["-c", code], log, os.environ, seconds, stop or Preemption())


def test_a_process_whose_time_is_over_is_asked_to_save(tmp_path):
    ended = launch(SAVES, tmp_path / "log", seconds=0.5)
    assert (ended.code, ended.message, ended.was_stopped) == (STOPPED, "saved", True)
    assert 0.5 <= ended.seconds < 30


def test_a_process_ends_with_the_campaign_that_is_asked_to_stop(tmp_path):
    stop = Preemption()
    stop.can_save = True
    stop.note(15, None)
    ended = launch("import time; time.sleep(60)", tmp_path / "log", stop=stop)
    assert ended.was_stopped and ended.seconds < 30


def test_one_that_does_not_obey_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "SAVE_SECONDS", 0.3)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    ended = launch(code, tmp_path / "log", seconds=0.5)
    assert (ended.code, ended.message) == (-9, "ended by SIGKILL")


def test_a_failure_is_its_last_line_and_a_value_is_json(tmp_path):
    about = (os.environ, 60.0, Preemption())
    assert process.value(["-c", "print('x'); print([1])"], tmp_path / "a", *about) == [1]
    with pytest.raises(UserError, match="no GPU; see .*/b"):
        process.value(["-c", "import sys; sys.exit('no GPU')"], tmp_path / "b", *about)
