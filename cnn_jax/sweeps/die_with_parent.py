"""Runs a command that does not outlive its parent: `python follow.py PARENT COMMAND ...`.

On Linux the command gets SIGTERM when the process PARENT is gone, by SIGKILL too. A run then saves
and ends, and whoever starts the sweep again finds it as any other that was stopped.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Becomes the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was gone before the line above
            sys.exit(os.EX_TEMPFAIL)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
