"""Runs a command that ends with its parent: `python die_with_parent.py PARENT COMMAND ...`.

On Linux the command gets SIGTERM when the process PARENT (its number) ends, by SIGKILL too. A run
then saves and ends, and the sweep that is started again continues it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Replaces this process by the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent ended before the line above
            sys.exit(os.EX_TEMPFAIL)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
