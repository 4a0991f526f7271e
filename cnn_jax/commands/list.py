"""The networks, data sets and experiments there are."""

import argparse

from rich.console import Console
from rich.table import Table

from cnn_jax import config as configs
from cnn_jax import data, models
from cnn_jax.errors import UserError
from cnn_jax.progress import print_line


def add_arguments(add) -> None:
    """None."""
    del add


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Prints them with their options, variants and tables."""
    table = Table("network", "options")
    for name in models.names():
        options = models.options(name).items()
        table.add_row(name, ", ".join(f"{option}={value!r}" for option, value in options))
    console.print(table)
    print_line(console, f"data sets: {', '.join(data.names())}")
    table = Table("experiment", "what", "variants", "tables")
    for file in sorted((arguments.home / "experiments").rglob("*.py")):
        if "def get_config" not in file.read_text(encoding="utf-8"):
            continue
        name = str(file.relative_to(arguments.home))
        try:
            module = configs.load_experiment(file)
        except UserError as error:  # somebody's, who does not ask for it
            table.add_row(name, str(error))
            continue
        variants = getattr(module, "VARIANTS", {}).values()
        words = ["|".join(words) for words in variants if len(words) > 1]
        title = (module.__doc__ or "").strip().partition("\n")[0]
        table.add_row(name, title, ", ".join(words), ", ".join(getattr(module, "TABLES", {})))
    console.print(table)
