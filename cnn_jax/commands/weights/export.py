"""Writes a trained network for other programs, with its preprocessing and class names."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cnn_jax import errors
from cnn_jax.commands.arguments import positive
from cnn_jax.commands.eval import WEIGHTS, choose_weights, open_run
from cnn_jax.errors import UserError
from cnn_jax.interop.export import exported
from cnn_jax.progress import print_line

if TYPE_CHECKING:
    from cnn_jax.runs import Run


def add_arguments(add) -> None:
    """The network, the format, and the file to write."""
    source = "a run, a compressed network, a file of weights, torchvision:NAME or hub:OWNER/NAME"
    add("source", metavar="RUN_OR_WEIGHTS", help=source)
    formats = "; ".join(f"{name}: {about}" for name, about in exported.FORMATS.items())
    add("--to", required=True, metavar="FORMAT", help=formats)
    add("--out", type=Path, required=True, metavar="PATH", help="the file or folder to write")
    add("--step", default="last", help="checkpoint of a run: last, best, or a number")
    add("--weights_of", metavar="KIND", help=f"one of {', '.join(WEIGHTS)}, see eval")
    add("--bn_batches", type=positive, default=50, metavar="N", help="training batches for bn")
    raw = "onnx, stablehlo: the input is what the network takes, not uint8 images"
    add("--raw", action="store_true", default=None, help=raw)
    names = "torch, safetensors: whose names the arrays have, such as torchvision, timm or ours"
    add("--names", metavar="SOURCE", help=names)
    add("--push", metavar="OWNER/NAME", help="hub: uploads the folder to this repository, too")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Opens the network, and writes it."""
    from cnn_jax.runs import pretrained

    format, out = exported.writer(arguments.to), arguments.out
    options = {name: getattr(arguments, name) for name in ("raw", "names", "push")}
    options = {name: value for name, value in options.items() if value is not None}
    for name in options:
        if name not in format.OPTIONS:
            raise UserError(f"--to={arguments.to} takes no --{name}", 2)
    if arguments.weights_of not in (None, *WEIGHTS):
        raise errors.unknown("--weights_of", arguments.weights_of, WEIGHTS)
    if out.exists():
        raise UserError(f"--out={out} is there already: remove it, or write another")
    if not out.absolute().parent.is_dir():
        raise UserError(f"no folder {out.parent} to write {out.name} into")
    opened = pretrained.load(arguments.source)
    found = network(opened, arguments.source, variables(opened, arguments))
    for line in format.write(found, out, **options):
        print_line(console, line)


def variables(opened: "Run", arguments: argparse.Namespace) -> dict[str, Any]:
    """Those of the checkpoint and of the kind that the arguments name, as `eval` has them."""
    kind = arguments.weights_of or ""
    if not kind.endswith("bn"):
        return opened.variables(opened.find_step(arguments.step), kind or None)
    chosen = open_run(Path(arguments.source), arguments)  # with its data
    return choose_weights(arguments, chosen)[kind]


def network(
    opened: "Run", source: str, variables: dict[str, Any] | None = None
) -> exported.Exported:
    """What formats take of a trained network that `pretrained.load(source)` opened."""
    from cnn_jax.runs.compressed import NetworkRun

    view = opened.evaluation_view
    height, width = view.size or opened.image_shape[:2]
    return exported.create(
        opened.config.model.to_dict() | {"num_classes": len(opened.class_names)},
        opened.variables() if variables is None else variables,
        name=name_of(source),
        preprocessing=opened.preprocessing,
        view=seen(opened, height),
        image_shape=(height, width, view.channels),
        class_names=opened.class_names,
        recipe=None if isinstance(opened, NetworkRun) else opened.record(),
    )


def seen(opened: "Run", size: int) -> dict[str, Any]:
    """What is cut out of an image: "full" is all of it, at the size of the training images."""
    view = opened.evaluation_view
    own = {"kind": "full" if view.resize is None else "center", "size": size}
    own |= {"resize": view.resize, "frame": "squash" if view.square else "full"}
    return own | {"filters": [view.filter], "dct_scaling": view.dct_scaling}


def name_of(source: str) -> str:
    """A name for files and cards: "resnet50" of "torchvision:resnet50/IMAGENET1K_V1"."""
    library, _, rest = source.partition(":")
    if library == "torchvision":
        return rest.partition("/")[0]
    path = Path(rest if library == "hub" else source)
    return path.stem if path.is_file() else path.absolute().name
