"""Kills a small run again and again, and compares how it ends with one that nobody disturbed."""

import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

import cnn_jax
from cnn_jax.errors import UserError
from cnn_jax.runs import checkpoints, metrics

LAUNCH = Path(cnn_jax.__file__).with_name("__main__.py")
# WRN-10-1 on the digits, with a checkpoint at every second program.
RECIPE = (
    "model.width=1",
    "training.duration=48 steps",
    "training.steps_per_dispatch=2",
    "training.checkpoint_every=4 steps",
    "evaluation.every=12 steps",
    "learning_rate.warmup=0 epochs",
)
SAVING = "*.orbax-checkpoint-tmp"  # what a checkpoint is called until it is whole


@dataclass
class Killed:
    """What was done: `while_saving` counts the kills that left half a checkpoint behind."""

    kills: int = 0
    while_saving: int = 0
    runs: int = 0  # that were killed at least once, and ended


def kill_test(kills: int, workdir: Path, console: Console, seed: int = 0) -> Killed:
    """SIGKILLs runs of a small recipe `kills` times, starts each again, and compares their ends.

    Every second kill comes at any moment of a process's life, from its start on; the others wait
    for a checkpoint to be half written. `workdir` must be empty, and keeps the runs.

    Raises:
      UserError: a run did not go on, or ended with another state or other metrics.
    """
    if kills < 1:
        raise UserError(f"a test of {kills} kills tests nothing", 2)
    if workdir.exists() and any(workdir.iterdir()):
        raise UserError(f"{workdir} has files in it; name an empty or new directory")
    workdir.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    finish(launch(workdir / "undisturbed"))
    start = time.monotonic()
    finish(launch(workdir / "again"))  # with compiled programs in the cache, as those to be killed
    life = time.monotonic() - start
    compare(workdir / "undisturbed", workdir / "again")
    text = f"two undisturbed runs are equal and take {life:.0f} s; now {kills} kills"
    console.print(text, highlight=False, soft_wrap=True)
    done = Killed()
    while done.kills < kills:
        done.runs += 1
        run = workdir / f"killed-{done.runs}"
        while done.kills < kills:
            process = launch(run)
            if done.kills % 2:
                ended = wait_for_saving(process, run, draw.randint(1, 2), draw.uniform(0, 0.05))
            else:
                ended = wait(process, draw.uniform(0, 0.8 * life))
            if ended:
                break
            process.kill()
            process.communicate()
            done.kills += 1
            halves = [half.name.split(".")[0] for half in (run / "checkpoints").glob(SAVING)]
            done.while_saving += bool(halves)
            what = f", while saving step {int(halves[0])}" if halves else ""
            lines = len(metrics.read(run))
            text = f"kill {done.kills}: run {done.runs}, {lines} lines of metrics{what}"
            console.print(text, highlight=False, soft_wrap=True)
        finish(launch(run))
        compare(workdir / "undisturbed", run)
    text = (
        f"{done.kills} kills, {done.while_saving} of them while a checkpoint was written: "
        f"{done.runs} runs ended byte for byte like the undisturbed one"
    )
    console.print(text, highlight=False, soft_wrap=True)
    return done


def launch(run: Path) -> subprocess.Popen:
    """Starts the recipe, or goes on with it."""
    overrides = [f"--config.{override}" for override in RECIPE]
    experiment = LAUNCH.parent / "experiments" / "quickstart.py"
    return subprocess.Popen(
        [sys.executable, LAUNCH, "train", f"--config={experiment}", *overrides, f"--workdir={run}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    """Lets it run to its end, which must be a good one."""
    output, _ = process.communicate()
    if process.returncode:
        last = (output.strip().splitlines() or ["nothing"])[-1]
        raise UserError(f"a run ended with exit code {process.returncode} and said: {last}")


def wait(process: subprocess.Popen, seconds: float) -> bool:
    """Waits; True if the process ended by itself before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    finish(process)
    return True


def wait_for_saving(process: subprocess.Popen, run: Path, nth: int, seconds: float) -> bool:
    """`wait`, from the moment on when the nth checkpoint of this process is being written."""
    begun: set[str] = {half.name for half in (run / "checkpoints").glob(SAVING)}
    leftover = len(begun)
    while process.poll() is None:
        begun |= {half.name for half in (run / "checkpoints").glob(SAVING)}
        if len(begun) - leftover >= nth:
            return wait(process, seconds)
        time.sleep(0.002)
    finish(process)
    return True


def compare(expected: Path, found: Path) -> None:
    """Raises `UserError` where the last states or the metrics differ in a byte."""
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
