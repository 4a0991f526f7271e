"""What several commands take from the command line."""

import argparse
from pathlib import Path

from ml_collections import ConfigDict

from cnn_jax import config

QUICKSTART = "experiments/quickstart.py"


def add_config(add) -> None:
    """`--config=FILE[:variant]`; the `--config.field=value` become `arguments.overrides`."""
    add("--config", default=QUICKSTART, metavar="FILE[:variant]", help="the experiment")
    add("--config.FIELD", dest="_", metavar="VALUE", help="changes a field: --config.seed=1")


def add_run(add) -> None:
    """A run, and which of its checkpoints."""
    add("run", type=Path, metavar="RUN", help="the directory of a run")
    add("--step", default="last", help="last, best (lowest validation error), or a number")


def load_config(arguments: argparse.Namespace) -> ConfigDict:
    """The config that the arguments name."""
    return config.load_config(experiment(arguments), arguments.overrides)


def experiment(arguments: argparse.Namespace) -> str:
    """`FILE[:variant]` of the arguments; experiments are found from anywhere."""
    file, _, _ = arguments.config.partition(":")
    elsewhere = not Path(file).exists() and (arguments.home / file).exists()
    return f"{arguments.home}/{arguments.config}" if elsewhere else arguments.config


def experiment_anywhere(arguments: argparse.Namespace) -> str:
    """It as one calls it on any machine: `experiments/resnet/cifar10.py:20`."""
    file, colon, variant = arguments.config.partition(":")
    found = Path(experiment(arguments).partition(":")[0]).resolve()
    home = arguments.home.resolve()
    own = found.relative_to(home).as_posix() if found.is_relative_to(home) else None
    return f"{own or (found.name if Path(file).is_absolute() else file)}{colon}{variant}"


def experiment_name(arguments: argparse.Namespace) -> str:
    """It as the name of a folder, by default below runs/."""
    name = experiment_anywhere(arguments).removeprefix("experiments/").replace(".py", "")
    return "".join(c if c.isalnum() else "-" for c in name)


def positive(text: str) -> int:
    """A number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1")
    return int(text)
