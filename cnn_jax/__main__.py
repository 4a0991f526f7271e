"""`python -m cnn_jax` is the command line; sweeps start their runs by the path of this file."""

import sys
from pathlib import Path

if not __package__:  # by its path: what is to be imported is the package around it
    sys.path[0] = str(Path(__file__).parents[1])

from cnn_jax.commands.command_line import run_process

if __name__ == "__main__":
    sys.exit(run_process("python -m cnn_jax"))
