"""The command line: parses, then calls one function."""

import sys
from pathlib import Path
import cnn_jax
from cnn_jax.training.train import train
from rich.console import Console
from cnn_jax.training import compiler
from cnn_jax.errors import UserError
compiler.enable_cache()
try:
    train(cnn_jax.load_config(sys.argv[1], sys.argv[3:]), Path(sys.argv[2]), Console())
except UserError as e:
    print("error:", e, file=sys.stderr); sys.exit(e.exit_code)
