"""A job of SLURM: trains a run, and queues itself again when it has to stop early."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from cnn_jax.errors import STOPPED

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)  # USR2 comes before the time limit
WAIT_SECONDS = 60  # for SLURM to end a job that is queued again


@dataclass(frozen=True)
class Job:
    """What every task of a job calls; several tasks train one run."""

    command: tuple[str, ...]

    def __call__(self) -> None:
        """Trains; raises `RuntimeError` where the run failed, so that SLURM's job fails too."""
        child = subprocess.Popen([sys.executable, *self.command], process_group=0)
        for number in SIGNALS:
            # The run saves and ends; submitit's own handlers would end this process before that.
            signal.signal(number, lambda *_: child.terminate())
        code = child.wait()
        if code in (STOPPED, -signal.SIGTERM):
            if os.environ["SLURM_PROCID"] == "0":
                queue_again(os.environ["SLURM_JOB_ID"])
        elif code:
            raise RuntimeError(f"launch.py ended with exit code {code}")


def queue_again(job: str) -> None:
    """Queues the job again, unless it was canceled or SLURM has queued it already."""
    shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True)
    if "JobState=RUNNING" in shown.stdout:
        subprocess.run(["scontrol", "requeue", job], check=True)
        time.sleep(WAIT_SECONDS)
