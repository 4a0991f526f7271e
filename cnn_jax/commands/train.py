"""Trains a network, or goes on with a run that was stopped."""

import argparse
from pathlib import Path

from rich.console import Console

from cnn_jax.commands.arguments import add_config, load_config


def add_arguments(add) -> None:
    """Which experiment, and where it is kept."""
    add_config(add)
    add("--workdir", type=Path, metavar="DIR", help="the run; default runs/EXPERIMENT-VARIANT")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Trains, and says what to do with the run."""
    from cnn_jax.training import compiler
    from cnn_jax.training.train import train

    config = load_config(arguments)
    name = arguments.config.removeprefix("experiments/").replace(".py", "")
    workdir = arguments.workdir or Path("runs") / "".join(c if c.isalnum() else "-" for c in name)
    compiler.enable_cache()
    train(config, workdir, console)
    console.print(
        f"the run is in {workdir}, its curves in {workdir}/curves.png; go on with\n"
        f"  python launch.py eval {workdir}\n"
        f"  python launch.py predict {workdir} IMAGE.png\n"
        f"  python -c \"import cnn_jax; print(cnn_jax.load_run('{workdir}').history)\"\n"
        f"  tensorboard --logdir={workdir.parent}    (after pip install tensorboard)",
        highlight=False,
        soft_wrap=True,
    )
