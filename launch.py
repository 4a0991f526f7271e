"""The command line of a checkout: `python launch.py --help`; installed, it is called `cnn-jax`."""

import sys

from cnn_jax.commands.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
