"""The command line of a checkout: `python launch.py --help`; installed, it is called `cnn-jax`."""

import sys

from cnn_jax.commands.command_line import LAUNCH, main, run_process

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(run_process(LAUNCH))
