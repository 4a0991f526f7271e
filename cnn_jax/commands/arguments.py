"""What several commands take from the command line, and how they print others to type."""

import argparse
import json
import shlex
from pathlib import Path

from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax.errors import UNPRINTABLE, escaped

QUICKSTART = "experiments/quickstart.py"


def add_config(add) -> None:
    """`--config=FILE[:variant]`; the `--config.field=value` become `arguments.overrides`."""
    add("--config", default=QUICKSTART, metavar="FILE[:variant]", help="the experiment")
    add("--config.FIELD", dest="_", metavar="VALUE", help="changes a field: --config.seed=1")


def load_config(arguments: argparse.Namespace) -> ConfigDict:
    """The config that the arguments name."""
    return configs.load_config(arguments.config, arguments.overrides)


def experiment_anywhere(arguments: argparse.Namespace) -> str:
    """The experiment as it is called on any machine: `experiments/resnet/cifar10.py:20`."""
    path, variant = configs.find_experiment(arguments.config)
    home = arguments.home.resolve()
    if path.resolve().is_relative_to(home):
        name = path.resolve().relative_to(home).as_posix()
    else:
        name = path.name if path.is_absolute() else path.as_posix()
    return f"{name}:{variant}" if variant else name


def experiment_name(arguments: argparse.Namespace) -> str:
    """The experiment as the name of a folder, by default below runs/."""
    name = experiment_anywhere(arguments).removeprefix("experiments/").replace(".py", "")
    return "".join(c if c.isalnum() else "-" for c in name)


def quoted(word: str | Path) -> str:
    """A word of a command for a shell; a path that begins like a flag is no flag."""
    text = str(word)
    if isinstance(word, Path) and text.startswith("-"):
        text = f"./{text}"
    if not UNPRINTABLE.search(text):
        return shlex.quote(text)
    text = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{UNPRINTABLE.sub(lambda found: escaped(found[0]), text)}'"  # of bash and zsh


def next_commands(program: str, run: Path) -> list[str]:
    """Commands that go on with a run; `program` is what a user types before one."""
    path, name = quoted(run), json.dumps(str(run), ensure_ascii=False)  # as Python spells it, too
    return [
        f"{program} eval {path}",
        f"{program} predict {path} IMAGE.png",
        f"{program} report {path} --page --pictures",
        f"python -c {quoted(f'import cnn_jax; print(cnn_jax.load_run({name}).history)')}",
    ]


def positive(text: str) -> int:
    """A number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1")
    return int(text)
