"""A parent that speaks for a process which JAX ends by force.

Where the coordinating process dies, JAX's client aborts every other one at once with a stack of C++
frames, and lets nobody in between: no handler, no exception. So a process of several is the child
of a small one, which passes signals on to it and tells its end in one line.
"""

import os
import re
import signal
import sys
import threading

from cnn_jax.cluster import preemption

# The line with which the client aborts, and what C++ logs before it.
FATAL, NOISE = re.compile(rb"F\d{4} "), re.compile(rb"[EWI]\d{4} |\[Gloo\]")

UNMET = (
    "the processes did not all meet in time; start as many as --num_processes says, each with its "
    "own --process_id, and with the --coordinator address that process 0 has"
)
COORDINATOR_LOST = (
    "the process that coordinates the run, 0, is lost; the last checkpoint is whole, "
    "start all processes again to go on from there"
)


def fork() -> None:
    """Returns in the child alone. To be called before JAX has started any thread."""
    alive_read, alive_write = os.pipe()
    errors_read, errors_write = os.pipe()
    child = os.fork()
    if child:
        os.close(alive_read)
        os.close(errors_write)
        os._exit(attend(child, errors_read))
    os.setpgid(0, 0)  # the terminal's Ctrl-C goes to the parent, which passes it on once
    os.close(alive_write)
    os.close(errors_read)
    os.dup2(errors_write, 2)
    os.close(errors_write)
    threading.Thread(target=follow, args=(alive_read,), daemon=True).start()


def follow(alive: int) -> None:
    """Ends the child when the parent is gone, by SIGKILL too: nobody holds the pipe any longer."""
    os.read(alive, 1)
    os._exit(1)


def attend(child: int, errors: int) -> int:
    """Passes signals to the child and its errors on; gives its exit code."""
    for number in preemption.heard():
        signal.signal(number, lambda number, _: os.kill(child, number))
    with os.fdopen(errors, "rb") as lines:
        for line in lines:
            if FATAL.match(line):
                break
            if not NOISE.match(line):
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()
        unmet = b"RegisterTask" in lines.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGABRT:
        print(f"error: {UNMET if unmet else COORDINATOR_LOST}", file=sys.stderr)
    elif code < 0:
        name = signal.Signals(-code).name
        print(f"error: {name} ended this process; the last checkpoint is whole", file=sys.stderr)
    return max(code, 1) if code else 0
