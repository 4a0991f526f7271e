"""The command line: parses, then calls one function. `python launch.py --help` tells more.

Installed, it is called `cnn-jax`, or `python -m cnn_jax`.
"""

import argparse
import importlib
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from cnn_jax import errors, wheels
from cnn_jax.errors import UserError

LAUNCH = "python launch.py"  # what a user of the checkout types before a command
# Each is a module of cnn_jax.commands, which is imported only when it is asked for.
COMMANDS = (
    *("train", "sweep", "report", "eval", "predict", "summary", "convert", "compress", "data"),
    *("list", "bench", "plan", "campaign", "doctor"),
)
USAGE = """\
usage: python launch.py [COMMAND] [ARGUMENTS]

Without arguments: trains the quickstart, on embedded data, in about a minute.

  train     train a network, or go on with a run that was stopped
            [--config=FILE[:variant]] [--config.any.field=VALUE ...] [--workdir=DIR] [--seeds=N]
            [--profile=STEPS] [--debug_nans]
  sweep     every row of a paper's table, or of a grid over config fields, with several seeds
            --config=FILE[:variant] (--table=NAME | --grid FIELD=A,B ...) [--seeds=N]
            [--workdir=DIR] [--parallel=N] [--only=ROW ...] [--dry_run] [--cluster=slurm]
  report    our results beside the paper's: table, figure, a page with the curves
            PATH ... [--out=DIR] [--check] [--record]
  eval      errors of a run's checkpoint, or of weights from elsewhere, over a whole split
            RUN [--step=last|best|N] [--data=PATH] [--weights_of=raw,ema,bn]
            --weights=FILE --config=FILE[:variant] [--config.any.field=VALUE ...]
            [--protocol=center|ten_crop|crops_12|crops_144|multi_scale] [--split=test] [--json]
            RUN RUN ... --ensemble
  predict   classifies images with a run
            RUN IMAGE ... [--step=last|best|N] [--top=3]
  summary   layers, shapes, parameters and multiply-adds of a network
            [--config=FILE[:variant]] [--config.any.field=VALUE ...] [--image=HxWxC]
            [--classes=N] [--json]
  convert   weights of a torchvision or timm network to Flax, or back
            NAME FILE --out=FILE [--check]
  compress  a trained network to the smallest file, which eval and predict take as a run
            RUN_OR_WEIGHTS --out=FILE [--lossless | --bits=B | --quality=7] [--images=FOLDER]
            --config=FILE[:variant] [--config.any.field=VALUE ...] [--workdir=DIR] [--seeds=N]
  data      makes a TFDS data set of published archives, or reads and checks all of one
            prepare NAME --from=DIR | check NAME  [--data_dir=DIR] [--on_error=raise|skip]
            split FILE_OR_FOLDER [--out=DIR] [--megabytes=38] | join FOLDER [--out=DIR]
  list      the networks, data sets and experiments there are
  plan      memory, speed at best and duration on GPUs or TPUs that need not be here
            --target=gpu:h100:8|tpu:v5e:2x2|... [--config=FILE[:variant]] [--table=NAME]
            [--config.any.field=VALUE ...] [--analytic] [--minutes=M] [--json]
  bench     speed, compile time and memory of a config on this machine
            [--config=FILE[:variant]] [--config.any.field=VALUE ...] [--fake] [--batch=N]
            [--inference] [--against=torch] [--steps=K] [--rounds=N] [--json] [--out=FILE]
  campaign  an hour on a rented GPU: checks, speed, the papers' CIFAR tables, as much as fits
            --budget=55m --data=DATA [--out=DIR] [--tasks=FILE] [--dry_run] [--retry]
            [--wheels=DIR] | --make_wheels=DIR
  doctor    is this machine fit: versions, devices, disk, data, one step, a checkpoint
            [--config=FILE[:variant]] [--config.any.field=VALUE ...] [--workdir=DIR]

  python launch.py COMMAND --help     tells more of one of them

examples:
  python launch.py train --config=experiments/resnet/cifar10.py:20,fast --config.data.path=CIFAR
  python launch.py train --config.model.width=4 --workdir=runs/wider
  python launch.py eval runs/quickstart --step=best
  python launch.py eval --config=experiments/squeezenet/imagenet.py --weights=FILE
  python launch.py bench --config=experiments/resnet/cifar10.py:20 --fake --against=torch

Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 diverged, 75 stopped by a signal.
"""


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str):
        raise UserError(f"{message}; `{self.prog} --help` shows how", 2)


def parse(arguments: list[str], program: str) -> tuple[ModuleType, argparse.Namespace]:
    """The command's module and its arguments.

    `overrides` are the `--config.field=value`, `home` is the folder that has `experiments/`, and
    `program` what a user types before a command.
    """
    if arguments and not arguments[0].startswith("-"):
        command, *arguments = arguments
    else:
        command = "train"
    if command not in COMMANDS:
        raise errors.unknown("command", command, COMMANDS)
    from cnn_jax import config as configs  # needs what `main` may have found in wheels

    module = importlib.import_module(f"cnn_jax.commands.{command}")
    parser = Parser(f"{program} {command}", description=module.__doc__, allow_abbrev=False)
    module.add_arguments(parser.add_argument)
    flags = [flag for action in parser._actions for flag in action.option_strings]
    overrides, rest = [], []
    for argument in arguments:
        is_override = argument.startswith("--config.") and "--config" in flags
        (overrides if is_override else rest).append(argument)
    parsed, unknown = parser.parse_known_args(rest)
    if unknown:
        raise errors.unknown(f"argument of {command}", unknown[0], flags)
    parsed.overrides = [override.removeprefix("--config.") for override in overrides]
    parsed.home, parsed.program = configs.HOME, program
    return module, parsed


def main(arguments: list[str], program: str = LAUNCH) -> int:
    """Runs a command; returns the exit code."""
    if arguments[:1] in (["--help"], ["-h"], ["help"]):
        print(USAGE.replace(LAUNCH, program), end="")
        return 0
    try:
        for flag in (word for word in arguments if word.startswith(wheels.FLAG)):
            wheels.add(Path(flag.removeprefix(wheels.FLAG)))
        command, parsed = parse(arguments, program)
        from rich.console import Console  # takes longer than all of --help

        # Tables are not squeezed into 80 columns where nobody looks at a terminal.
        console = Console(width=None if sys.stdout.isatty() else 160)
        command.run(parsed, console)
    except UserError as error:
        # Messages speak of launch.py; who installed the package has no such file.
        print(f"error: {error}".replace(LAUNCH, program), file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a file that may not be read
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 1
    return 0


def run_process(program: str = "cnn-jax") -> int:
    """Runs the command of a process that is nothing but the command line; returns its exit code."""
    sys.unraisablehook = ignore_closed_loop
    warnings.formatwarning = one_line
    return main(sys.argv[1:], program)


def one_line(message: Any, *_: Any) -> str:
    """A warning as a user of the command line sees it: without the place in the code."""
    return f"warning: {message}\n"


def ignore_closed_loop(unraisable: Any) -> None:
    """Where a checkpoint cannot be written, Orbax's threads repeat it to a loop that has ended."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
