"""The networks, data sets and experiments there are."""

import argparse

from rich.console import Console
from rich.table import Table

from cnn_jax import config as configs
from cnn_jax import data, models


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
    console.print("data sets:", ", ".join(data.names()), highlight=False)
    table = Table("experiment", "what", "variants", "tables")
    for file in sorted((arguments.home / "experiments").rglob("*.py")):
        if "def get_config" not in file.read_text():
            continue
        module = configs.load_experiment(file)
        words = ["|".join(words) for words in module.VARIANTS.values() if len(words) > 1]
        title = module.__doc__.strip().splitlines()[0]
        tables = ", ".join(getattr(module, "TABLES", {}))
        table.add_row(str(file.relative_to(arguments.home)), title, ", ".join(words), tables)
    console.print(table)
