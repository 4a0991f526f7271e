"""Kills small jobs again and again, and compares their ends with that of an undisturbed one."""

import collections
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from cnn_jax.bench import kill_jobs
from cnn_jax.bench.kill_jobs import Job, unfinished
from cnn_jax.errors import UserError
from cnn_jax.progress import print_line
from cnn_jax.runs.checkpoints import DELETED

PER_JOB = 10  # kills before a job may end, and is compared
# The share of each job among all kills; the rest is of training.
SHARES = {"sweep": 0.1, "data prepare": 0.1, "two processes": 0.1}

# Python that a process executes first, to be killed at a moment that is too short to wait for.
DELETING = f"""
import os, signal, sys
seen = []
def kill(event, arguments):
    if event == "os.rename" and {DELETED!r} in str(arguments):
        seen.append(event)
    elif seen and event in ("os.remove", "os.rmdir"):
        seen.append(event)
    else:
        return
    if len(seen) == NTH:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
"""
EVALUATING = """
import os, signal, threading
from cnn_jax.training.run_writer import RunWriter
evaluate, left = RunWriter._evaluate, [NTH]
def evaluate_and_die(*arguments):
    left[0] -= 1
    if not left[0]:
        threading.Timer(SECONDS, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return evaluate(*arguments)
RunWriter._evaluate = evaluate_and_die
"""
# Moments of a kill: at the start, any time, while a checkpoint is written or an old one deleted, in
# an evaluation, and after a process stood still (SIGSTOP, SIGCONT).
MOMENTS = ("start", "any", "saving", "deleting", "evaluating", "stopped")


@dataclass
class Killed:
    """How many kills there were."""

    kills: int = 0
    by_moment: collections.Counter = field(default_factory=collections.Counter)
    by_job: collections.Counter = field(default_factory=collections.Counter)
    while_saving: int = 0  # kills that left half a checkpoint behind
    while_deleting: int = 0  # kills that left a part of a checkpoint that was being deleted
    twice: int = 0  # kills at the start of a process that went on after a kill
    ends: int = 0  # jobs that were killed, and then ended like the undisturbed one


class Tester:
    """Kills one kind of job."""

    def __init__(self, job: Job, folder: Path, console: Console, draw: random.Random, done: Killed):
        self._job, self._folder, self._console = job, folder, console
        self._draw, self._done = draw, done
        self._moments, self._killed = 0, None  # how many, and where the last kill was

    def prepare(self) -> None:
        """Lets the job end twice undisturbed; compares the ends, and measures its life."""
        finish(self._job.launch(self._folder / "undisturbed"))
        begin = time.monotonic()
        finish(self._job.launch(self._folder / "again"))  # compiled programs are cached now
        self._life = time.monotonic() - begin
        self._job.compare(self._folder / "undisturbed", self._folder / "again")
        self._say(f"two undisturbed ends are equal, after {self._life:.0f} s")

    def kill(self, kills: int) -> None:
        """Kills so many times; each job ends after `PER_JOB` kills, or by itself before that."""
        last, number = self._done.kills + kills, 0
        while self._done.kills < last:
            number += 1
            place = self._folder / f"killed-{number}"
            for _ in range(min(PER_JOB, last - self._done.kills)):
                if not self._kill_once(place):
                    break
            finish(self._job.launch(place))
            self._job.compare(self._folder / "undisturbed", place)
            self._done.ends += 1
            self._say(f"the end of job {number} is equal")

    def _kill_once(self, place: Path) -> bool:
        """Starts the job or goes on with it, and kills it; False if it ended before."""
        # Every second kill hits the start of a process that goes on after another kill.
        moment = self._job.moments[self._moments // 2 % len(self._job.moments)]
        moment = "start" if self._moments % 2 else moment
        self._moments += 1
        processes = self._job.launch(place, self._first(moment))
        if self._wait(moment, processes, place):
            return False
        for process in processes:
            process.kill()
            if len(processes) > 1:
                time.sleep(self._draw.uniform(0, 0.5))
        for process in processes:
            process.communicate()
        while self._job.is_busy(place):
            time.sleep(0.05)
        self._count(moment, place)
        return True

    def _first(self, moment: str) -> str:
        """What the process executes first."""
        if moment == "deleting":
            return DELETING.replace("NTH", str(self._draw.randint(1, 30)))
        text = EVALUATING.replace("NTH", str(self._draw.randint(1, 2)))
        seconds = f"{self._draw.uniform(0, 0.1):.3f}"
        return text.replace("SECONDS", seconds) if moment == "evaluating" else ""

    def _wait(self, moment: str, processes: Sequence[subprocess.Popen], place: Path) -> bool:
        """Waits for the moment; True if the job ended by itself meanwhile."""
        process = processes[0]
        if moment == "saving":
            ended = wait_for_saving(process, place, self._draw.randint(1, 2))
            ended = ended or wait(process, self._draw.uniform(0, 0.05))
        elif moment in ("deleting", "evaluating"):
            ended = process.wait() != -signal.SIGKILL
        else:
            longest = 0.4 if moment == "start" else 0.9
            ended = wait(process, self._draw.uniform(0, longest * self._life))
        if moment == "stopped" and not ended:
            process.send_signal(signal.SIGSTOP)
            if self._job.is_busy(place):
                check_refused(self._job.launch(place))
            process.send_signal(signal.SIGCONT)
            ended = wait(process, self._draw.uniform(0, 0.5))
        if ended:
            finish(processes)
        return ended

    def _count(self, moment: str, place: Path) -> None:
        done = self._done
        done.kills += 1
        done.by_moment[moment] += 1
        done.by_job[self._job.name] += 1
        done.twice += moment == "start" and place == self._killed
        self._killed = place
        halves = [half for run in self._job.runs(place) for half in unfinished(run)]
        done.while_saving += bool(halves)
        remains = any((run / "checkpoints" / DELETED).exists() for run in self._job.runs(place))
        done.while_deleting += moment == "deleting" and remains
        left = ", half a checkpoint left" if halves else ""
        self._say(f"kill {done.kills}, {moment}{left}")

    def _say(self, text: str) -> None:
        print_line(self._console, f"{self._job.name}: {text}")


def kill_test(kills: int, workdir: Path, console: Console, seed: int = 0) -> Killed:
    """Kills jobs with SIGKILL, goes on with each, and compares their ends, listings included.

    Args:
      kills: of all jobs; few kills are all of training, see `SHARES`.
      workdir: an empty directory, which keeps what the jobs write.

    Raises:
      UserError: a job did not go on, or ended with other bytes.
    """
    if kills < 1:
        raise UserError(f"a test of {kills} kills tests nothing", 2)
    if workdir.exists() and any(workdir.iterdir()):
        raise UserError(f"{workdir} has files in it; choose an empty or new directory")
    draw, done = random.Random(seed), Killed()
    shares = {name: int(kills * share) for name, share in SHARES.items()}
    if sys.platform != "linux":  # there the runs of a sweep do not end with it
        shares["sweep"] = 0
    shares["train"] = kills - sum(shares.values())
    makers = {
        "train": kill_jobs.Training,
        "sweep": kill_jobs.Sweep,
        "data prepare": lambda: kill_jobs.Preparation(workdir / "images"),
        "two processes": kill_jobs.TwoProcesses,
    }
    for name, make in makers.items():
        if shares[name]:
            folder = workdir / name.replace(" ", "-")
            folder.mkdir(parents=True)
            tester = Tester(make(), folder, console, draw, done)
            tester.prepare()
            tester.kill(shares[name])
    print_line(console, summary(done))
    return done


def summary(done: Killed) -> str:
    """All kills in one line."""
    jobs = ", ".join(f"{count} of {name}" for name, count in done.by_job.items())
    moments = ", ".join(f"{count} {moment}" for moment, count in done.by_moment.items())
    return (
        f"{done.kills} kills ({jobs}; moments: {moments}; {done.while_saving} left half a "
        f"checkpoint, {done.while_deleting} a half deleted one, {done.twice} came at the start "
        f"after another): all {done.ends} ends are byte for byte like the undisturbed one"
    )


def finish(processes: Sequence[subprocess.Popen]) -> None:
    """Waits for the end; raises `UserError` if a process failed."""
    outputs = [process.communicate()[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        if process.returncode:
            last = ((output or "").strip().splitlines() or ["nothing"])[-1]
            raise UserError(f"a job ended with exit code {process.returncode} and said: {last}")


def check_refused(processes: Sequence[subprocess.Popen]) -> None:
    """Raises `UserError` unless a start is refused, as where another process holds the place."""
    outputs = [process.communicate()[0] for process in processes]
    if not all("another process" in output for output in outputs):
        raise UserError(f"a second process was not refused, and said: {outputs[0].strip()}")


def wait(process: subprocess.Popen, seconds: float) -> bool:
    """Waits so many seconds; True if the process ended by itself meanwhile."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def wait_for_saving(process: subprocess.Popen, run: Path, nth: int) -> bool:
    """Until the process begins to write its nth checkpoint; True if it ended before."""
    begun = set(unfinished(run))
    leftover = len(begun)
    while process.poll() is None:
        begun |= set(unfinished(run))
        if len(begun) - leftover >= nth:
            return False
        time.sleep(0.002)
    return True
