"""The command line: parses, then calls one function. `python launch.py --help` tells more."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cnn_jax import errors
from cnn_jax.errors import UserError

HERE = Path(__file__).parent
QUICKSTART = "experiments/quickstart.py"
USAGE = """\
usage: python launch.py [COMMAND] [ARGUMENTS]

Without arguments: trains the quickstart, on embedded data, in about a minute.

  train     train a network, or go on with a run that was stopped
            [--config=FILE[:variant]] [--config.any.field=VALUE ...] [--workdir=DIR]
  eval      errors of a run's checkpoint over a whole split
            RUN [--split=test] [--step=last|best|N] [--data=PATH]
  predict   what a run sees in images
            RUN IMAGE ... [--step=last|best|N] [--top=3]
  summary   layers, shapes, parameters and multiply-adds of a network
            [--config=FILE[:variant]] [--config.any.field=VALUE ...] [--image=HxWxC]
            [--classes=N] [--json]
  convert   weights of a torchvision or timm network to Flax, or back
            NAME FILE --out=FILE [--check]
  list      the networks, data sets and experiments there are

  python launch.py COMMAND --help     tells more of one of them

examples:
  python launch.py train --config=experiments/resnet/cifar10.py:20,fast --config.data.path=CIFAR
  python launch.py train --config.model.width=4 --workdir=runs/wider
  python launch.py eval runs/quickstart --step=best

Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 diverged, 75 stopped by a signal after saving.
"""


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str):
        raise UserError(f"{message}; `python launch.py {self.prog} --help` shows how", 2)


def positive(text: str) -> int:
    """A number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1")
    return int(text)


def parser_for(command: str) -> Parser:
    """The arguments of one command."""
    parser = Parser(command, description=COMMANDS[command].__doc__, allow_abbrev=False)
    add = parser.add_argument
    if command in ("train", "summary"):
        add("--config", default=QUICKSTART, metavar="FILE[:variant]", help="the experiment")
        add("--config.FIELD", dest="_", metavar="VALUE", help="changes a field: --config.seed=1")
    if command == "train":
        add("--workdir", type=Path, metavar="DIR", help="the run; default runs/EXPERIMENT-VARIANT")
    if command == "summary":
        add("--image", metavar="HxWxC", help="the size of the input; default that of the data set")
        add("--classes", type=positive, metavar="N", help="default those of the data set")
        add("--json", action="store_true", help="prints JSON, for programs")
    if command in ("eval", "predict"):
        add("run", type=Path, metavar="RUN", help="the directory of a run")
        add("--step", default="last", help="last, best (lowest validation error), or a number")
    if command == "eval":
        add("--split", default="test", help="train, validation or test")
        add("--data", metavar="PATH", help="where the data is now; default where it was")
    if command == "predict":
        add("images", type=Path, nargs="+", metavar="IMAGE", help="PNG or JPEG files")
        add("--top", type=positive, default=3, metavar="K", help="how many classes to show")
    if command == "convert":
        add("name", metavar="NAME", help="torchvision's name of the network, such as resnet50")
        add("file", type=Path, metavar="FILE", help=".pth, or .safetensors of either kind")
        add("--out", type=Path, required=True, metavar="FILE", help="the file to write")
        add("--check", action="store_true", help="compare each layer with torchvision's network")
    return parser


def parse(arguments: list[str]) -> tuple[str, argparse.Namespace]:
    """The command and its arguments; `overrides` are the `--config.field=value`."""
    if arguments and not arguments[0].startswith("-"):
        command, *arguments = arguments
    else:
        command = "train"
    if command not in COMMANDS:
        raise errors.unknown("command", command, COMMANDS)
    overrides, rest = [], []
    for argument in arguments:
        is_override = argument.startswith("--config.") and command in ("train", "summary")
        (overrides if is_override else rest).append(argument)
    parser = parser_for(command)
    parsed, unknown = parser.parse_known_args(rest)
    if unknown:
        known = [flag for action in parser._actions for flag in action.option_strings]
        raise errors.unknown(f"argument of {command}", unknown[0], known)
    parsed.overrides = [override.removeprefix("--config.") for override in overrides]
    return command, parsed


def load(arguments: argparse.Namespace):
    """The config that the arguments name; experiments are found from anywhere."""
    import cnn_jax

    file, _, _ = arguments.config.partition(":")
    here = "" if Path(file).exists() or not (HERE / file).exists() else f"{HERE}/"
    return cnn_jax.load_config(here + arguments.config, arguments.overrides)


def train(arguments: argparse.Namespace, console: Console) -> None:
    """Trains a network, or goes on with a run that was stopped."""
    from cnn_jax.training import compiler
    from cnn_jax.training.train import train

    config = load(arguments)
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


def evaluate(arguments: argparse.Namespace, console: Console) -> None:
    """Errors of a run's checkpoint over a whole split, every example counted once."""
    import cnn_jax
    from cnn_jax.training import compiler
    from cnn_jax.training.evaluate import evaluate_run
    from cnn_jax.training.progress import summary_table

    compiler.enable_cache()
    run = cnn_jax.load_run(arguments.run)
    step = run.find_step(arguments.step)
    numbers = evaluate_run(run, step, arguments.split, arguments.data)
    console.print(f"{arguments.run}, step {step:,}, single central view", highlight=False)
    console.print(summary_table({arguments.split: numbers}))


def predict(arguments: argparse.Namespace, console: Console) -> None:
    """Shows the likeliest classes of images."""
    import numpy as np

    import cnn_jax
    from cnn_jax.data.folder import decode

    run = cnn_jax.load_run(arguments.run)
    height, width, channels = run.image_shape
    mode = "L" if channels == 1 else "RGB"
    images = [decode(file, (height, width), mode) for file in arguments.images]
    top = min(arguments.top, len(run.class_names))
    table = Table("image", *(f"{i + 1}." for i in range(top)))
    for file, row in zip(
        arguments.images, run.predict(np.stack(images), arguments.step), strict=True
    ):
        best = np.argsort(-row, kind="stable")[:top]
        table.add_row(str(file), *(f"{run.class_names[i]} {row[i]:.1%}" for i in best))
    console.print(table)


def summary(arguments: argparse.Namespace, console: Console) -> None:
    """Layers, shapes, parameters and multiply-adds of a network, beside the published numbers."""
    import json

    from cnn_jax import config as configs
    from cnn_jax import models
    from cnn_jax.analysis.summary import input_of, layers_of
    from experiments import published

    config = load(arguments)
    shape, classes = input_of(config.data, arguments.image, arguments.classes)
    model = configs.call(models.create, "model", config.model, num_classes=classes)
    rows = layers_of(model, shape)
    total = {
        name: sum(getattr(row, name) for row in rows)
        for name in ("parameters", "multiply_adds", "activation_bytes")
    }
    known = published.find(config.model.to_dict(), classes, shape[0])
    if arguments.json:
        layers = [row._asdict() for row in rows]
        sizes = [size._asdict() for size in known]
        print(json.dumps({"layers": layers, "total": total, "published": sizes}, indent=1))
        return
    table = Table("layer", "kind", "output", "kernel", "parameters", "multiply-adds", "KiB")
    for row in rows:
        sizes = ["x".join(map(str, s)) for s in (row.output_shape, row.kernel_shape)]
        counts = (f"{n:,}" for n in (row.parameters, row.multiply_adds, row.activation_bytes >> 10))
        table.add_row(row.name, row.kind, *sizes, *counts)
    table.add_section()
    counts = list(total.values())
    table.add_row("total", "", "", "", *(f"{n:,}" for n in (*counts[:2], counts[2] >> 10)))
    console.print(table)
    for size in known:
        difference = total[size.quantity] - size.value
        console.print(
            f"{size.source}: {size.value:,.0f} {size.quantity.replace('_', '-')}, "
            f"difference {difference:+,.0f}, {difference / size.value:+.2%}",
            highlight=False,
        )


def convert(arguments: argparse.Namespace, console: Console) -> None:
    """Weights of a torchvision or timm network to Flax variables, or back."""
    import numpy as np

    from cnn_jax.interop import compare
    from cnn_jax.interop import convert as converter

    done, state = converter.convert(arguments.name, arguments.file, arguments.out)
    console.print(f"{arguments.out}: {done} of {arguments.name}", highlight=False, soft_wrap=True)
    if not arguments.check:
        return
    images = np.random.default_rng(0).standard_normal((2, 224, 224, 3), np.float32)
    rows = compare.layer_differences(arguments.name, state, images)
    table = Table("layer", "in PyTorch", "largest difference", "relative")
    for row in rows:
        table.add_row(row.layer, row.torch_layer, f"{row.largest:.2e}", f"{row.relative:.2e}")
    console.print(table)
    first = next((row.layer for row in rows if row.relative > 1e-4), None)
    console.print(f"first layer that diverges by more than 1e-4: {first or 'none'}")


def list_all(arguments: argparse.Namespace, console: Console) -> None:
    """The networks, data sets and experiments there are."""
    del arguments
    from cnn_jax import config as configs
    from cnn_jax import data, models

    table = Table("network", "options")
    for name in models.names():
        options = models.options(name).items()
        table.add_row(name, ", ".join(f"{option}={value!r}" for option, value in options))
    console.print(table)
    console.print("data sets:", ", ".join(data.names()), highlight=False)
    table = Table("experiment", "what", "variants")
    for file in sorted((HERE / "experiments").rglob("*.py")):
        if "def get_config" not in file.read_text():
            continue
        module = configs.load_experiment(file)
        words = ["|".join(words) for words in module.VARIANTS.values() if len(words) > 1]
        title = module.__doc__.strip().splitlines()[0]
        table.add_row(str(file.relative_to(HERE)), title, ", ".join(words))
    console.print(table)


COMMANDS = {
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "summary": summary,
    "convert": convert,
    "list": list_all,
}


def main(arguments: list[str]) -> int:
    """Runs a command; returns the exit code."""
    if arguments[:1] in (["--help"], ["-h"], ["help"]):
        print(USAGE, end="")
        return 0
    try:
        command, parsed = parse(arguments)
        # Tables are not squeezed into 80 columns where nobody looks at a terminal.
        console = Console(width=None if sys.stdout.isatty() else 160)
        COMMANDS[command](parsed, console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a file that may not be read
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
