"""The command line: parses, then calls one function. `python launch.py --help` tells more.

Installed, it is called `cnn-jax`, or `python -m cnn_jax`.
"""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from cnn_jax import errors, wheels
from cnn_jax.errors import LAUNCH, UserError

# Each is a module of cnn_jax.commands, which is imported only when it is asked for.
COMMANDS = (
    *("train", "sweep", "report", "eval", "predict", "features", "summary", "draw", "convert"),
    *("export", "compress", "data", "list", "bench", "plan", "campaign", "doctor"),
)
ROOMS = {  # the others lie in `commands`
    **{"convert": "weights.convert", "export": "weights.export"},
    **{"draw": "look.draw", "features": "look.features"},
}
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
            RUN --page [--pictures]
  eval      errors of a run's checkpoint, or of weights from elsewhere, over a whole split
            RUN [--step=last|best|N] [--data=PATH] [--weights_of=raw,ema,bn]
            --weights=WEIGHTS --config=FILE[:variant] [--config.any.field=VALUE ...]
            [--protocol=center|ten_crop|crops_12|crops_144|multi_scale] [--split=test] [--json]
            RUN RUN ... --ensemble
  predict   classifies images with a run, or with weights from elsewhere
            RUN IMAGE ... [--step=last|best|N] [--top=3] [--orientation=exif|stored]
            --weights=FILE|torchvision:NAME|hub:OWNER/NAME IMAGE ...
  features  the activations of layers, of a whole split or of single images, as NumPy files
            RUN [IMAGE ...] --out=FILE.npz|DIR [--layers=conv1,conv2/*] [--split=test]
            [--step=last|best|N] [--data=PATH] [--weights=WEIGHTS --config=FILE[:variant]]
  summary   layers, shapes, parameters and multiply-adds of a network
            [--config=FILE[:variant]] [--config.any.field=VALUE ...] [--image=HxWxC]
            [--classes=N] [--json]
  convert   weights of a torchvision or timm network to Flax, or back
            NAME FILE --out=FILE [--check]
  export    writes a trained network for other programs: ONNX Runtime, browsers, JAX, PyTorch
            RUN_OR_WEIGHTS --to=onnx|stablehlo|safetensors|torch|keras|hub --out=PATH
            [--step=last|best|N] [--weights_of=raw|ema|bn|ema_bn] [--raw] [--names=SOURCE]
            [--push=OWNER/NAME]
  compress  a trained network to the smallest file, which eval and predict take as a run
            RUN_OR_WEIGHTS --out=FILE [--lossless | --bits=B | --quality=7] [--images=FOLDER]
            --config=FILE[:variant] [--config.any.field=VALUE ...] [--workdir=DIR] [--seeds=N]
  draw      networks as their papers draw them, from the program of the module
            --out=FILE.svg|.pdf|.png [--config=FILE[:variant] ...] [--config.any.field=VALUE ...]
            [--level=stage|block|layer] [--only=PATH ...] [--activations] [--title=TEXT ...]
            [--table=NAME | --grid FIELD=A,B ...] [--columns=N] [--image=HxWxC] [--classes=N]
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
  python launch.py COMMAND --debug    shows the traceback of an error; so does CNN_JAX_DEBUG=1

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
    if command.partition(":")[0].endswith(".py"):
        raise UserError(f"{command!r} is no command: {program} train --config={command}", 2)
    if command not in COMMANDS:
        raise errors.unknown("command", command, COMMANDS)
    from cnn_jax import config as configs  # needs what `main` may have found in wheels

    module = importlib.import_module(f"cnn_jax.commands.{ROOMS.get(command, command)}")
    parser = Parser(f"{program} {command}", description=module.__doc__, allow_abbrev=False)
    module.add_arguments(parser.add_argument)
    flags = [flag for action in parser._actions for flag in action.option_strings]
    overrides, rest = split_overrides(arguments) if "--config" in flags else ([], arguments)
    parsed, unknown = parser.parse_known_args(rest)
    if unknown:
        raise unknown_argument(command, unknown, flags, getattr(parsed, "config", None))
    parsed.overrides = overrides
    parsed.home, parsed.program = configs.HOME, program
    return module, parsed


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The `field=value` of `--config.field=value` or `--config.field value`, and all else."""
    overrides, rest, words = [], [], iter(arguments)
    for word in words:
        if not word.startswith("--config."):
            rest.append(word)
            continue
        field, equals, value = word.removeprefix("--config.").partition("=")
        if not equals:
            value = next(words, "--")
            if value.startswith("--"):
                raise UserError(f"{word} lacks its value: write {word}=VALUE", 2)
        overrides.append(f"{field}={value}")
    return overrides, rest


def unknown_argument(
    command: str, unknown: Sequence[str], flags: Sequence[str], experiment: str | None
) -> UserError:
    """The error for words that a command does not take, with the field that is meant."""
    from cnn_jax import config as configs
    from cnn_jax import hints
    from cnn_jax.commands.arguments import QUICKSTART

    fields = []
    if "--config" in flags:
        fields = configs.field_names(configs.load_config(experiment or QUICKSTART))
    return hints.unknown_argument(command, unknown, flags, fields)


def main(arguments: list[str], program: str = LAUNCH) -> int:
    """Runs a command; returns the exit code."""
    if "--debug" in arguments:
        arguments = [word for word in arguments if word != "--debug"]
        os.environ[errors.DEBUG] = "1"  # which the processes of a sweep inherit
    try:
        if arguments[:1] in (["--help"], ["-h"], ["help"]):
            print(USAGE.replace(LAUNCH, program), end="")
            return 0
        for flag in (word for word in arguments if word.startswith(wheels.FLAG)):
            wheels.add(Path(flag.removeprefix(wheels.FLAG)))
        command, parsed = parse(arguments, program)
        from cnn_jax.progress import PlainConsole  # takes longer than all of --help
        from cnn_jax.runs.environment import pinned_jax

        with pinned_jax():
            command.run(parsed, PlainConsole())
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 1
    except Exception as error:
        return errors.show(error, program)
    return 0


def run_process(program: str = "cnn-jax") -> int:
    """Runs the command of a process that is nothing but the command line; returns its exit code."""
    from cnn_jax import standard_streams

    sys.unraisablehook = ignore_closed_loop
    warnings.formatwarning = one_line
    standard_streams.prepare()
    code = main(sys.argv[1:], program)
    try:
        standard_streams.finish()
    except OSError as error:  # of a full disk
        return code or errors.show(error)
    return code


def one_line(message: Any, *_: Any) -> str:
    """A warning as a user of the command line sees it: without the place in the code."""
    return f"warning: {message}\n"


def ignore_closed_loop(unraisable: Any) -> None:
    """Where a checkpoint cannot be written, Orbax's threads repeat it to a loop that has ended."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
