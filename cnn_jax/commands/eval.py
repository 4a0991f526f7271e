"""Errors of a run's checkpoint over a whole split, every example counted once."""

import argparse

from rich.console import Console

import cnn_jax
from cnn_jax.commands.arguments import add_run


def add_arguments(add) -> None:
    """Which run, and which data."""
    add_run(add)
    add("--split", default="test", help="train, validation or test")
    add("--data", metavar="PATH", help="where the data is now; default where it was")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Prints a table of loss and errors."""
    from cnn_jax.training import compiler
    from cnn_jax.training.evaluate import evaluate_run
    from cnn_jax.training.progress import summary_table

    compiler.enable_cache()
    opened = cnn_jax.load_run(arguments.run)
    step = opened.find_step(arguments.step)
    numbers = evaluate_run(opened, step, arguments.split, arguments.data)
    console.print(f"{arguments.run}, step {step:,}, single central view", highlight=False)
    console.print(summary_table({arguments.split: numbers}))
