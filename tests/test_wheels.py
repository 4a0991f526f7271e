"""A wheel of pure Python is imported as it lies."""

import os
import subprocess
import sys
import zipfile

import pytest

from cnn_jax import wheels
from cnn_jax.errors import UserError


def test_a_package_in_a_folder_of_wheels_is_found_here_and_in_processes(tmp_path, monkeypatch):
    file = tmp_path / "only_here-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("only_here.py", "VALUE = 3\n")
        wheel.writestr("only_here-1.0.dist-info/METADATA", "Name: only_here\nVersion: 1.0\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "before")
    wheels.add(tmp_path)
    wheels.add(tmp_path)
    assert os.environ["PYTHONPATH"] == f"before{os.pathsep}{file}"
    code = (
        "import only_here, importlib.metadata as m; print(only_here.VALUE, m.version('only_here'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "3 1.0\n"


def test_a_folder_without_wheels_is_told(tmp_path):
    with pytest.raises(UserError, match="has no wheels"):
        wheels.add(tmp_path)
