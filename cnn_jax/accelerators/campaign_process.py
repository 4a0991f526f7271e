"""A task of a campaign in a process of its own, which ends in time, or with its parent."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cnn_jax import config as configs
from cnn_jax.cluster.preemption import Preemption
from cnn_jax.errors import UserError
from cnn_jax.sweeps import die_with_parent
from cnn_jax.sweeps.local import last_words

LAUNCH = configs.PACKAGE / "__main__.py"
POLL_SECONDS = 0.1
SAVE_SECONDS = 120.0  # from SIGTERM to SIGKILL
DESCRIBE = f"""
import json, sys
sys.path.insert(0, {str(configs.PACKAGE.parent)!r})
from cnn_jax.runs.environment import environment
print(json.dumps(environment()))
"""


class Ended(NamedTuple):
    """How a process ended."""

    code: int  # 0 done, 75 stopped and to be continued, below 0 killed by a signal
    seconds: float
    message: str  # its last line, where it failed
    was_stopped: bool  # its time was over, or this process is to stop


def launch(
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    seconds: float,
    stop: Preemption,
) -> Ended:
    """Runs Python with these arguments, and sends it SIGTERM when its time is over.

    Args:
      log: its output is added to this file.
      environment: the variables of the process.
      seconds: that it may take.
      stop: whether this process is asked to stop, and the other one with it.
    """
    begin = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                die_with_parent.__file__,
                str(os.getpid()),
                sys.executable,
                *arguments,
            ],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C comes to this process, which passes it on
        )
    ends, was_asked = begin + seconds, False
    while process.poll() is None:
        now = time.monotonic()
        if not was_asked and (stop.requested or now > ends):
            process.send_signal(signal.SIGTERM)
            was_asked, ends = True, now + SAVE_SECONDS
        elif was_asked and now > ends:
            process.kill()
        time.sleep(POLL_SECONDS)
    code = process.returncode
    message = last_words(log, code) if code else ""
    return Ended(code, time.monotonic() - begin, message, was_asked and code != 0)


def value(
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    seconds: float,
    stop: Preemption,
) -> Any:
    """The JSON value in the last line that `launch` printed; raises `UserError` where it failed."""
    ended = launch(arguments, log, environment, seconds, stop)
    if ended.code:
        raise UserError(f"{ended.message}; see {log}", max(ended.code, 1))
    return json.loads(log.read_text().splitlines()[-1])
