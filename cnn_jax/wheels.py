"""Packages from a folder of wheels, where none can be installed and nothing be downloaded.

Wheels of pure Python are imported as they lie. This module imports nothing of them: the command
line calls it first.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from cnn_jax.errors import UserError

# What training needs beside JAX, Flax, Optax, Orbax and the packages of data science.
NEEDED = ("ml-collections", "absl-py")
FLAG = "--wheels="


def add(folder: Path) -> None:
    """Makes the packages in a folder importable, here and in the processes that this one starts.

    Raises `UserError` where there is no wheel of pure Python.
    """
    found = sorted(str(file.absolute()) for file in folder.glob("*-none-any.whl"))
    if not found:
        raise UserError(
            f"--wheels: {folder} has no wheels; `campaign --make_wheels=DIR` makes them"
        )
    sys.path += [file for file in found if file not in sys.path]
    before = os.environ.get("PYTHONPATH")
    paths = [*(before.split(os.pathsep) if before else []), *found]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))


def download(folder: Path, requirements: Path) -> list[Path]:
    """Downloads the wheels, in the versions that are tested; raises `UserError` where pip fails."""
    wanted = re.findall(r"^(\S+)==(\S+)", requirements.read_text(), re.M)
    pinned = [f"{name}=={version}" for name, version in wanted if name in NEEDED]
    options = ["--only-binary=:all:", "--no-deps", "--quiet", f"--dest={folder}"]
    command = [sys.executable, "-m", "pip", "download", *options, *pinned]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise UserError(f"cannot download {', '.join(pinned)}: {last}")
    return sorted(folder.glob("*.whl"))
