"""A file that is written is the old one or the new one, whatever happens while it is written."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from cnn_jax import files
from tests.conftest import ROOT


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path, plain = tmp_path / "a.json", tmp_path / "plain"
    plain.touch()
    files.write_json(path, {"step": 1})
    files.write_json(path, {"step": 2})
    assert path.read_text() == '{\n  "step": 2\n}\n' and set(tmp_path.iterdir()) == {path, plain}
    assert path.stat().st_mode == plain.stat().st_mode


def test_arrays_keep_the_name_that_they_are_given(tmp_path):
    files.write_arrays(tmp_path / "arrays", {"mean": np.arange(3)})
    assert os.listdir(tmp_path) == ["arrays"]
    with np.load(tmp_path / "arrays") as arrays:
        assert arrays["mean"].tolist() == [0, 1, 2]


def test_where_writing_fails_the_old_file_stays(tmp_path):
    files.write_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), files.replacing(tmp_path / "a") as temporary:
        temporary.write_text("ne")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_two_that_write_the_same_file_do_not_write_into_each_other(tmp_path):
    with files.replacing(tmp_path / "a") as first, files.replacing(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"


def test_after_a_kill_the_old_file_is_there_and_the_leftover_can_be_removed(tmp_path):
    files.write_text(tmp_path / "a", "old")
    code = (
        "import os, signal; from pathlib import Path; from cnn_jax import files\n"
        f"with files.replacing({str(tmp_path / 'a')!r}) as temporary:\n"
        "    temporary.write_text('ne')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    (leftover,) = (name for name in os.listdir(tmp_path) if files.is_temporary(name))
    assert (tmp_path / "a").read_text() == "old"
    files.remove_leftovers(tmp_path)
    assert not (tmp_path / leftover).exists() and (tmp_path / "a").exists()
