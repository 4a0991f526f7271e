"""Shows the likeliest classes of images, of each of which it sees what `eval` would."""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import cnn_jax
from cnn_jax.commands.arguments import positive
from cnn_jax.errors import UserError
from cnn_jax.progress import print_line

ORIENTATIONS = ("exif", "stored")


def add_arguments(add) -> None:
    """The network and the images."""
    several = "the directory of a run, but with --weights; and PNG or JPEG files"
    add("paths", type=Path, nargs="+", metavar="RUN IMAGE", help=several)
    weights = "in place of a run: a file, torchvision:NAME or hub:OWNER/NAME"
    add("--weights", metavar="WEIGHTS", help=weights)
    add("--step", default="last", help="last, best (lowest validation error), or a number")
    add("--top", type=positive, default=3, metavar="K", help="how many classes to show")
    add(
        "--orientation",
        choices=ORIENTATIONS,
        default="exif",
        help="exif (default): photos are turned as cameras note; stored: as in data sets",
    )


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Prints the likeliest classes of each image, with their probabilities."""
    from jax.nn import softmax

    run, *files = [arguments.weights, *arguments.paths] if arguments.weights else arguments.paths
    if not files:
        raise UserError("predict takes a RUN and IMAGEs, or --weights=WEIGHTS and IMAGEs", 2)
    opened = cnn_jax.load_pretrained(run)
    view = opened.evaluation_view
    views, changes = zip(*(view.read(file, arguments.orientation) for file in files), strict=True)
    probabilities = np.asarray(softmax(opened.logits(views, arguments.step)))
    top = min(arguments.top, len(opened.class_names))
    table = Table("image", *(f"{i + 1}." for i in range(top)))
    for file, row in zip(files, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        table.add_row(str(file), *(f"{opened.class_names[i]} {row[i]:.1%}" for i in best))
    for line in changed(files, changes):
        print_line(console, line)
    console.print(table)


def changed(files: list[Path], changes: list[list[str]]) -> list[str]:
    """A line for each kind of change to images, with the first file and how many more."""
    by_change: dict[str, list[Path]] = {}
    for file, own in zip(files, changes, strict=True):
        if own:
            by_change.setdefault("; ".join(own), []).append(file)
    return [
        f"note: {found[0]}{f' and {len(found) - 1} more' if len(found) > 1 else ''}: {change}"
        for change, found in by_change.items()
    ]
