"""What a job of SLURM does: trains a run, and asks for another turn when it has to stop early."""

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
    """Called by every task of the job; several tasks train one run together."""

    command: tuple[str, ...]

    def __call__(self) -> None:
        """Raises `RuntimeError` where the run failed, so that SLURM tells it too."""
        child = subprocess.Popen([sys.executable, *self.command], process_group=0)
        for number in SIGNALS:
            # The run saves and ends; submitit's own handlers would end this process before.
            signal.signal(number, lambda *_: child.terminate())
        code = child.wait()
        if code in (STOPPED, -signal.SIGTERM):
            if os.environ["SLURM_PROCID"] == "0":
                queue_again(os.environ["SLURM_JOB_ID"])
        elif code:
            raise RuntimeError(f"launch.py ended with exit code {code}")


def queue_again(job: str) -> None:
    """Puts the job back into the queue, unless somebody has cancelled it or SLURM did so itself."""
    shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True)
    if "JobState=RUNNING" in shown.stdout:
        subprocess.run(["scontrol", "requeue", job], check=True)
        time.sleep(WAIT_SECONDS)
