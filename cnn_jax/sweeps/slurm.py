"""Trains the runs of a sweep on a cluster: as job arrays of SLURM, through submitit."""

import getpass
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnn_jax.errors import STOPPED, UserError, first_line
from cnn_jax.files import read_undamaged, write_json
from cnn_jax.runs.directory import is_open
from cnn_jax.sweeps.run_progress import state
from cnn_jax.sweeps.slurm_job import Job
from cnn_jax.sweeps.sweep import Sweep, SweepRun

FOLDER, JOBS = "slurm", "jobs.json"
POLL_SECONDS = 5.0
RUNNING = ("RUNNING", "COMPLETING")


@dataclass(frozen=True)
class Resources:
    """What each run gets."""

    minutes: int  # after which it saves and is queued again
    nodes: int
    processes: int  # on all nodes
    gpus: int  # on all nodes
    at_once: int | None  # runs of the array at a time; None leaves it to SLURM
    more: dict[str, str]  # options of sbatch: {"partition": "gpu"}


class Jobs:
    """The runs of a sweep as jobs of SLURM, which outlive this process."""

    def __init__(self, sweep: Sweep, launch: Path):
        """Finds the jobs that an earlier command submitted; `launch` is `cnn_jax/__main__.py`."""
        if not shutil.which("sbatch"):
            raise UserError("--cluster=slurm: there is no sbatch here; start it on a login node")
        self._folder = sweep.workdir.absolute() / FOLDER
        self._launch = launch.absolute()
        self._runs = {
            Path(os.path.relpath(run.path, sweep.workdir)).as_posix(): run for run in sweep.runs
        }
        self._jobs = self._read()
        self.states: dict[SweepRun, str] = {}
        self.messages: dict[SweepRun, str] = {}
        self.update()

    @property
    def processes(self) -> Sequence[SweepRun]:
        """The runs that train."""
        return [run for run, name in self.states.items() if name == "running"]

    def submit(self, resources: Resources) -> int:
        """Submits the runs that are neither finished nor queued, as one array; returns how many."""
        waiting = {n: run for n, run in self._runs.items() if self.states[run] == "waiting"}
        waiting = {n: run for n, run in waiting.items() if not is_open(run.path)}
        if waiting:
            executor = make_executor(self._folder, resources, self._launch.parents[1])
            jobs = [Job((str(self._launch), *run.arguments)) for run in waiting.values()]
            try:
                submitted = executor.map_array(Job.__call__, jobs)
            except Exception as error:  # sbatch refuses for many reasons
                raise UserError(f"sbatch: {first_line(error, 500)}") from None
            ids = {name: job.job_id for name, job in zip(waiting, submitted, strict=True)}
            self._jobs |= ids
            write_json(self._folder / JOBS, self._jobs)
            self.update()
        return len(waiting)

    def update(self) -> None:
        """Renews the states, from SLURM's queue and the directories of the runs."""
        queue = queued()
        for name, run in self._runs.items():
            job = self._jobs.get(name)
            finished = state(run)
            if job in queue:
                self.states[run] = "running" if queue[job] in RUNNING else "queued"
            elif finished == "waiting" and self.states.get(run) in ("running", "queued", "failed"):
                self.states[run] = "failed"
                self.messages[run] = f"job {job} ended; see {self._folder}/{job}_0_log.err"
            else:
                self.states[run] = finished

    def _read(self) -> dict[str, str]:
        return read_undamaged(self._folder / JOBS, {})


def make_executor(folder: Path, resources: Resources, packages: Path):
    """submitit's executor of jobs with these resources.

    Args:
      folder: of its logs.
      packages: the folder of this package, which jobs import.
    """
    try:
        import submitit
    except ImportError:
        raise UserError("--cluster=slurm needs submitit: pip install submitit") from None
    if resources.processes % resources.nodes or resources.gpus % resources.nodes:
        raise UserError("--processes and --gpus_per_run must be multiples of --nodes", 2)
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
    array = {"slurm_array_parallelism": resources.at_once} if resources.at_once else {}
    gpus = {"gpus_per_node": resources.gpus // resources.nodes} if resources.gpus else {}
    path = shlex.quote(str(packages))
    executor.update_parameters(
        name="cnn_jax",
        timeout_min=resources.minutes,
        nodes=resources.nodes,
        tasks_per_node=resources.processes // resources.nodes,
        slurm_setup=[f"export PYTHONPATH={path}${{PYTHONPATH:+:$PYTHONPATH}}"],
        slurm_additional_parameters={"requeue": True, "open-mode": "append", **resources.more},
        **gpus,
        **array,
    )
    return executor


def queued() -> dict[str, str]:
    """The state of each of the user's jobs in the queue, by "ARRAY_TASK"."""
    command = ["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%i %T"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"squeue: {first_line(RuntimeError(done.stderr))}")
    return dict(line.split() for line in done.stdout.splitlines())


def watch(jobs: Jobs, show: Callable[[], None]) -> None:
    """Calls `show` until no job is left in the queue; Ctrl-C ends the watching, not the jobs."""
    try:
        while any(name in ("queued", "running") for name in jobs.states.values()):
            show()
            time.sleep(POLL_SECONDS)
            jobs.update()
        show()
    except KeyboardInterrupt:
        raise UserError(
            "stopped watching; the jobs go on, and the same command watches them again", STOPPED
        ) from None
