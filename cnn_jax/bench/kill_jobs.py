"""What the kill test kills: a run, a run of two processes, a sweep, a data set being prepared.

Each job is small and takes some seconds; the same command begins it and goes on with it.
"""

import json
import os
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from cnn_jax import config as configs
from cnn_jax.errors import UserError
from cnn_jax.runs import checkpoints, directory, metrics

LAUNCH = configs.PACKAGE / "__main__.py"
# WRN-10-1 on the digits, with a checkpoint at every second program.
RECIPE = (
    "model.width=1",
    "training.duration=48 steps",
    "training.steps_per_dispatch=2",
    "training.checkpoint_every=4 steps",
    "evaluation.every=12 steps",
    "learning_rate.warmup=0 epochs",
)
# Files whose bytes differ from start to start, as they tell times and the machine.
VARYING = ("environment.json", "metrics.jsonl", "curves.png", ".log")
SAVING = "*.orbax-checkpoint-tmp"  # the name of a checkpoint that is being written


class Job(ABC):
    """Something that is killed, and goes on when it is started again."""

    name: str
    moments: tuple[str, ...]  # see `kill_test.MOMENTS`
    on_cpu = True  # a GPU serves one process

    @abstractmethod
    def command(self, place: Path) -> list[list[str]]:
        """The arguments of `launch.py`, of each process."""

    def runs(self, place: Path) -> list[Path]:
        """The directories of its runs."""
        return [place]

    def launch(self, place: Path, before: str = "") -> list[subprocess.Popen]:
        """Starts it, or goes on; `before` is Python that each process executes first."""
        run = f"import runpy, sys; {before or 'pass'}\nsys.argv = sys.argv[1:]\n"
        run += "runpy.run_path(sys.argv[0], run_name='__main__')"
        starts = [sys.executable, "-c", run, str(LAUNCH)] if before else [sys.executable, LAUNCH]
        paths = filter(None, [str(configs.PACKAGE.parent), os.environ.get("PYTHONPATH")])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        environment |= {"JAX_PLATFORMS": "cpu"} if self.on_cpu else {}
        return [
            subprocess.Popen(
                [*starts, *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for arguments in self.command(place)
        ]

    def is_busy(self, place: Path) -> bool:
        """Whether a process that outlives its parent for a moment still writes."""
        return any(directory.is_open(run) for run in self.runs(place))

    def compare(self, expected: Path, found: Path) -> None:
        """Raises `UserError` where anything that was written differs."""
        compare_files(expected, found)
        for one, other in zip(self.runs(expected), self.runs(found), strict=True):
            compare(one, other)


class Training(Job):
    """A run of one process."""

    name, moments = "train", ("saving", "deleting", "evaluating", "any", "stopped")
    on_cpu = False

    def command(self, place: Path) -> list[list[str]]:
        overrides = [f"--config.{override}" for override in RECIPE]
        return [["train", f"--config={quickstart()}", *overrides, f"--workdir={place}"]]


class TwoProcesses(Training):
    """A run of two processes, with a device each."""

    name, moments = "two processes", ("saving", "any")
    on_cpu = True

    def command(self, place: Path) -> list[list[str]]:
        (arguments,) = super().command(place)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        where = [f"--coordinator=127.0.0.1:{port}", "--num_processes=2"]
        return [[*arguments, *where, f"--process_id={i}"] for i in range(2)]


class Sweep(Job):
    """Two runs, at the same time."""

    name, moments = "sweep", ("any",)

    def command(self, place: Path) -> list[list[str]]:
        overrides = [f"--config.{override}" for override in RECIPE]
        grid = ["--grid=learning_rate.rate=0.05,0.1", "--parallel=2"]
        workdir = place / "sweep"  # sweeps that lie beside each other share their runs
        return [["sweep", f"--config={quickstart()}", *overrides, *grid, f"--workdir={workdir}"]]

    def runs(self, place: Path) -> list[Path]:
        return sorted(file.parent for file in place.glob("sweep/*/*/config.json"))


class Preparation(Job):
    """A data set of images that is prepared."""

    name, moments = "data prepare", ("any",)

    def __init__(self, images: Path, count: int = 2000):
        """Writes the images."""
        rng = np.random.default_rng(0)
        for i in range(count):
            file = images / ("train", "test")[i % 3 == 0] / f"class-{i % 10}" / f"{i:05d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(file)
        self._images = images

    def command(self, place: Path) -> list[list[str]]:
        return [["data", "prepare", "noise", f"--from={self._images}", f"--data_dir={place}"]]

    def runs(self, place: Path) -> list[Path]:
        del place
        return []

    def is_busy(self, place: Path) -> bool:
        return directory.is_open(place / "noise")


def quickstart() -> Path:
    """The experiment whose recipe is made small."""
    return configs.HOME / "experiments" / "quickstart.py"


def unfinished(run: Path) -> list[str]:
    """The names of the checkpoints that are half written."""
    return [half.name for half in (run / "checkpoints").glob(SAVING)]


def compare(expected: Path, found: Path) -> None:
    """Raises `UserError` where the states or the metrics of two runs differ in a byte."""
    steps = [checkpoints.saved_steps(path / "checkpoints") for path in (expected, found)]
    if steps[0] != steps[1]:
        raise UserError(f"{found} keeps the checkpoints {steps[1]}, {expected} {steps[0]}")
    for step in steps[0]:
        states = [
            jax.tree_util.tree_leaves_with_path(checkpoints.load_arrays(path / "checkpoints", step))
            for path in (expected, found)
        ]
        names = [[jax.tree_util.keystr(path) for path, _ in state] for state in states]
        if names[0] != names[1]:
            raise UserError(f"{found} has other arrays than {expected}")
        for name, (_, one), (_, other) in zip(names[0], *states, strict=True):
            if np.asarray(one).tobytes() != np.asarray(other).tobytes():
                raise UserError(f"{found} differs from {expected} in {name} of step {step}")
    if metrics.reproducible(expected) != metrics.reproducible(found):
        raise UserError(f"{found}/metrics.jsonl differs from that of {expected}")


def compare_files(expected: Path, found: Path) -> None:
    """Raises `UserError` where two folders list other files, or small files differ in a byte."""
    listings = [listing(path) for path in (expected, found)]
    if other := sorted(listings[0].keys() ^ listings[1].keys()):
        raise UserError(f"only one of {expected} and {found} has {', '.join(other[:5])}")
    for name, content in listings[0].items():
        if content != listings[1][name]:
            raise UserError(f"{found / name} differs from that of {expected}")


def listing(folder: Path) -> dict[str, bytes | None]:
    """The content of each file and folder below a folder; None where it may vary.

    TensorBoard's files, and the pieces of Orbax's arrays, have names that nobody can foresee.
    """
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if "tensorboard/" in name or "/d/" in name:
            continue
        varies = path.is_dir() or "checkpoints/" in name or name.endswith(VARYING)
        found[name] = None if varies else without_place(path.read_bytes(), folder)
    return found


def without_place(content: bytes, folder: Path) -> bytes:
    """The content of a file, without the path of the folder that it may name."""
    return content.replace(json.dumps(str(folder)).strip('"').encode(), b"")
