"""Kills a small run again and again, and compares its end with that of an undisturbed run."""

import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from cnn_jax import config as configs
from cnn_jax.errors import UserError
from cnn_jax.progress import print_line
from cnn_jax.runs import checkpoints, metrics

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
SAVING = "*.orbax-checkpoint-tmp"  # the name of a checkpoint that is being written


@dataclass
class Killed:
    """How many kills there were."""

    kills: int = 0
    while_saving: int = 0  # kills that left half a checkpoint behind
    runs: int = 0  # that were killed and then ended


def kill_test(kills: int, workdir: Path, console: Console, seed: int = 0) -> Killed:
    """Kills runs of a small recipe with SIGKILL, continues each, and compares their ends.

    Every second kill comes at any moment from the start of a process on; the others come while a
    checkpoint is written.

    Args:
      kills: of all runs.
      workdir: an empty directory, which keeps the runs.

    Raises:
      UserError: a run did not continue, or ended with another state or other metrics.
    """
    if kills < 1:
        raise UserError(f"a test of {kills} kills tests nothing", 2)
    if workdir.exists() and any(workdir.iterdir()):
        raise UserError(f"{workdir} has files in it; choose an empty or new directory")
    workdir.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    finish(launch(workdir / "undisturbed"))
    start = time.monotonic()
    finish(launch(workdir / "again"))  # as fast as the others: compiled programs are cached
    life = time.monotonic() - start
    compare(workdir / "undisturbed", workdir / "again")
    print_line(console, f"two undisturbed runs are equal and take {life:.0f} s; now {kills} kills")
    done = Killed()
    while done.kills < kills:
        done.runs += 1
        run = workdir / f"killed-{done.runs}"
        while done.kills < kills and kill(run, done, draw, life):
            lines, halves = len(metrics.read(run)), unfinished(run)
            when = f", while step {int(halves[0].split('.')[0])} was saved" if halves else ""
            text = f"kill {done.kills}: run {done.runs}, {lines} lines of metrics{when}"
            print_line(console, text)
        finish(launch(run))
        compare(workdir / "undisturbed", run)
    text = (
        f"{done.kills} kills, {done.while_saving} of them while a checkpoint was written: "
        f"{done.runs} runs ended byte for byte like the undisturbed one"
    )
    print_line(console, text)
    return done


def kill(run: Path, done: Killed, draw: random.Random, life: float) -> bool:
    """Starts or continues a run and kills it; False if it ended before. Counts in `done`.

    `life` is the number of seconds that an undisturbed run takes.
    """
    process = launch(run)
    if done.kills % 2:
        ended = wait_for_saving(process, run, draw.randint(1, 2), draw.uniform(0, 0.05))
    else:
        ended = wait(process, draw.uniform(0, 0.8 * life))
    if ended:
        return False
    process.kill()
    process.communicate()
    done.kills += 1
    done.while_saving += bool(unfinished(run))
    return True


def unfinished(run: Path) -> list[str]:
    """The names of the checkpoints that are half written."""
    return [half.name for half in (run / "checkpoints").glob(SAVING)]


def launch(run: Path) -> subprocess.Popen:
    """Starts the recipe, or continues it."""
    overrides = [f"--config.{override}" for override in RECIPE]
    experiment = configs.HOME / "experiments" / "quickstart.py"
    return subprocess.Popen(
        [sys.executable, LAUNCH, "train", f"--config={experiment}", *overrides, f"--workdir={run}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    """Waits for the end; raises `UserError` if the process failed."""
    output, _ = process.communicate()
    if process.returncode:
        last = (output.strip().splitlines() or ["nothing"])[-1]
        raise UserError(f"a run ended with exit code {process.returncode} and said: {last}")


def wait(process: subprocess.Popen, seconds: float) -> bool:
    """Waits so many seconds; True if the process ended by itself meanwhile."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    finish(process)
    return True


def wait_for_saving(process: subprocess.Popen, run: Path, nth: int, seconds: float) -> bool:
    """`wait`, from the moment when the process begins to write its nth checkpoint."""
    begun = set(unfinished(run))
    leftover = len(begun)
    while process.poll() is None:
        begun |= set(unfinished(run))
        if len(begun) - leftover >= nth:
            return wait(process, seconds)
        time.sleep(0.002)
    finish(process)
    return True


def compare(expected: Path, found: Path) -> None:
    """Raises `UserError` where the last states or the metrics of two runs differ in a byte."""
    steps = [checkpoints.saved_steps(path / "checkpoints") for path in (expected, found)]
    if steps[0] != steps[1]:
        raise UserError(f"{found} keeps the checkpoints {steps[1]}, {expected} {steps[0]}")
    states = [
        jax.tree_util.tree_leaves_with_path(checkpoints.load_arrays(path / "checkpoints", step))
        for path, step in ((expected, steps[0][-1]), (found, steps[0][-1]))
    ]
    names = [[jax.tree_util.keystr(path) for path, _ in state] for state in states]
    if names[0] != names[1]:
        raise UserError(f"{found} has other arrays than {expected}")
    for name, (_, one), (_, other) in zip(names[0], *states, strict=True):
        if np.asarray(one).tobytes() != np.asarray(other).tobytes():
            raise UserError(f"{found} differs from {expected} in {name} of its last state")
    if metrics.reproducible(expected) != metrics.reproducible(found):
        raise UserError(f"{found}/metrics.jsonl differs from that of {expected}")
