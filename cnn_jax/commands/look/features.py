"""Writes the activations of a network's layers, for all images of a split or for single ones.

A `.npz` has an array for each layer, "conv2/block1", with `index` and `labels` of the images; of
single images, `files`. A folder has the same as `.npy` files, which NumPy can map.
"""

import argparse
import functools
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import cnn_jax
from cnn_jax.commands import eval as evaluation
from cnn_jax.commands.arguments import positive
from cnn_jax.commands.predict import ORIENTATIONS, changed
from cnn_jax.errors import UserError
from cnn_jax.progress import ProgressBar, print_line


def add_arguments(add) -> None:
    """Which layers of which network, which images, and where the activations go."""
    several = "a run (with --weights: none), for a whole split; or with PNG or JPEG files"
    add("paths", type=Path, nargs="*", metavar="RUN [IMAGE]", help=several)
    layers = "names as `summary` prints them, with commas between; * is anything, LAYER/relu the "
    layers += "same after its ReLU; default embedding, the vector before the classifier"
    add("--layers", default="embedding", metavar="LIST", help=layers)
    add("--out", type=Path, required=True, metavar="FILE.npz|DIR", help="one file, or a folder")
    add("--step", default="last", help="last, best (lowest validation error), or a number")
    weights = "in place of a run: a file, torchvision:NAME, hub:OWNER/NAME; a split needs --config"
    add("--weights", metavar="WEIGHTS", help=weights)
    add("--config", metavar="FILE[:variant]", help="the network and data of --weights")
    add("--config.FIELD", dest="_", metavar="VALUE", help="changes a field: --config.data.path=DIR")
    add("--weights_of", choices=("raw", "ema"), help="default those that the run evaluates")
    add("--split", help="train, validation or test; default test, else validation or train")
    add("--data", metavar="PATH", help="where the data is now; default where the run found it")
    add("--batch", type=positive, metavar="N", help="images at a time; default evaluation's")
    orientation = "of IMAGEs: exif (default): as cameras note; stored: as in data sets"
    add("--orientation", choices=ORIENTATIONS, default="exif", help=orientation)


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Writes the activations, and prints their shapes."""
    from cnn_jax.evaluation import features
    from cnn_jax.files import keep_compiled

    keep_compiled()
    name, *files = (
        [arguments.weights, *arguments.paths] if arguments.weights else (arguments.paths or [None])
    )
    if name is None:
        raise UserError("features takes a RUN, or --weights=WEIGHTS with --config=FILE", 2)
    layers = arguments.layers.split(",")
    if files:
        batches = [of_files(str(name), files, layers, arguments, console)]
        shapes = features.write(batches, arguments.out)
    else:
        shapes = write_split(arguments, layers, console)
    table = Table("array", "shape")
    for name, shape in shapes.items():
        table.add_row(name, "x".join(map(str, shape)))
    console.print(table)
    print_line(console, f"they are in {arguments.out}")


def of_files(
    name: str, files: list[Path], layers: list[str], arguments: argparse.Namespace, console: Console
) -> dict[str, np.ndarray]:
    """The activations of image files, as `predict` sees them."""
    from cnn_jax.runs import features

    opened = cnn_jax.load_pretrained(name)
    view = opened.evaluation_view
    views, changes = zip(*(view.read(file, arguments.orientation) for file in files), strict=True)
    for line in changed(files, changes):
        print_line(console, line)
    found = features.of_views(opened, views, layers, arguments.step)
    return {"files": np.array([str(file) for file in files])} | found


def write_split(
    arguments: argparse.Namespace, layers: list[str], console: Console
) -> dict[str, tuple[int, ...]]:
    """Writes the activations of a split batch by batch; returns their shapes."""
    from cnn_jax.evaluation import features

    arguments.runs = [] if arguments.weights else arguments.paths
    arguments.ensemble = False
    evaluation.check(arguments)
    if arguments.data:
        arguments.overrides.append(f"data.path={arguments.data}")
    open_one = evaluation.open_weights if arguments.weights else evaluation.open_run
    opened = open_one(*arguments.runs, arguments)
    variables = opened.variables(arguments.weights_of or opened.default)
    if variables is None:
        raise UserError("a file has raw weights only", 2)
    batch_size = arguments.batch or opened.target.config.evaluation.batch_size
    bad: dict[int, str] = {}
    with ProgressBar(console) as bar:
        how = (layers, arguments.split, batch_size, bad, functools.partial(bar.show, "image"))
        shapes = features.write(features.stream(opened.target, variables, *how), arguments.out)
    for reason in list(bad.values())[:20]:
        print_line(console, f"skipped: {reason}")
    if bad:
        print_line(console, f"{len(bad):,} images were skipped, and have no row")
    return shapes
