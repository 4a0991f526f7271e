"""Checks if this machine can train: versions, devices, disk, memory, data, a step, a checkpoint."""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

import cnn_jax
from cnn_jax.commands.arguments import QUICKSTART, add_config, load_config, positive
from cnn_jax.errors import UserError
from cnn_jax.progress import ProgressBar

STYLES = {"ok": "green", "warning": "yellow", "FAIL": "bold red"}


def add_arguments(add) -> None:
    """The config whose data is read, and where runs would be."""
    add_config(add)
    add("--workdir", type=Path, default=Path("runs"), metavar="DIR", help="where runs would be")
    kills = "kills small runs, goes on with them, and compares their ends byte for byte"
    add("--kill-test", action="store_true", help=kills)
    add("--kills", type=positive, default=20, metavar="N", help="how many times; default 20")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Prints a line for each finding; raises `UserError` where a check fails."""
    from cnn_jax.bench import checks
    from cnn_jax.bench.kill_test import kill_test
    from cnn_jax.files import keep_compiled

    keep_compiled()
    if arguments.kill_test:
        with tempfile.TemporaryDirectory() as folder:
            kill_test(arguments.kills, Path(folder), console)
        return
    machine = checks.Machine(
        config=load_config(arguments),
        quickstart=cnn_jax.load_config(str(arguments.home / QUICKSTART)),
        requirements=arguments.home / "requirements.txt",
        workdir=arguments.workdir,
    )
    with ProgressBar(console) as bar:
        lines = list(checks.examine(machine, lambda *counts: bar.show("check", *counts)))
    table = Table("", "what", "found", "what to do")
    for line in lines:
        table.add_row(line.status, line.what, line.found, line.advice, style=STYLES[line.status])
    console.print(table)
    failed = [line.what for line in lines if line.status == checks.FAIL]
    if failed:
        raise UserError(f"{len(failed)} of {len(lines)} checks failed: {', '.join(failed)}")
