"""Draws networks as their papers draw them, from the programs that their modules are traced to.

Several, a paper's table, or parts of networks stand side by side. Neither data nor weights are
read.
"""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ml_collections import ConfigDict
from rich.console import Console

from cnn_jax import config as configs
from cnn_jax.commands.arguments import QUICKSTART, positive
from cnn_jax.commands.sweep import find_table
from cnn_jax.errors import UserError
from cnn_jax.progress import print_line

if TYPE_CHECKING:
    from cnn_jax.analysis.draw.graph import Graph


def add_arguments(add) -> None:
    """The networks, which part of them, in which detail, and the file."""
    one = "an experiment; may be repeated: the networks stand side by side"
    add("--config", dest="experiments", action="append", metavar="FILE[:variant]", help=one)
    add("--config.FIELD", dest="_", metavar="VALUE", help="changes a field of all of them")
    add("--table", metavar="NAME", help="the networks of all rows of the experiment's table")
    grid = "the networks of every combination of these values; may be given again"
    add("--grid", action="append", default=[], metavar="FIELD=A,B", help=grid)
    part = "this block, module or layer alone, as conv2/block1; may be repeated"
    add("--only", action="append", default=[], metavar="PATH", help=part)
    add("--level", default="layer", metavar="stage|block|layer", help="of detail; default layer")
    activations = "batch norm, ReLU and dropout stand between the layers"
    add("--activations", action="store_true", help=activations)
    title = "what stands above a drawing; once for each"
    add("--title", action="append", default=[], metavar="TEXT", help=title)
    add("--columns", type=positive, metavar="N", help="drawings in a row; default all of them")
    add("--image", metavar="HxWxC", help="the size of the input; default that of the data set")
    add("--classes", type=positive, metavar="N", help="default those of the data set")
    add("--out", type=Path, required=True, metavar="FILE.svg|.pdf|.png", help="the file to write")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Writes the drawing, and says how much stands in it."""
    from cnn_jax.analysis.draw import levels, picture
    from cnn_jax.analysis.draw.graph import inside

    picture.check(arguments.out)
    networks, parts = find(arguments), arguments.only or [""]
    titles = arguments.title or [
        " ".join([name] * (len(networks) > 1 or len(parts) == 1) + [part] * (len(parts) > 1))
        for name, _ in networks
        for part in parts
    ]
    if len(titles) != len(networks) * len(parts):
        count = len(networks) * len(parts)
        raise UserError(f"{len(titles)} --title for {count} drawings: give one for each", 2)
    graphs = []
    for _, config in networks:
        graph = trace(arguments, config)
        graph = levels.at_level(graph, arguments.level, arguments.activations)
        graphs += [inside(graph, part) if part else graph for part in parts]
    pictures = [picture.Picture(*pair) for pair in zip(titles, graphs, strict=True)]
    with unheard():
        picture.write(pictures, arguments.out, arguments.columns)
    nodes, edges = (sum(len(getattr(graph, k)) for graph in graphs) for k in ("nodes", "edges"))
    print_line(console, f"{arguments.out}: {nodes} nodes, {edges} edges")


def find(arguments: argparse.Namespace) -> list[tuple[str, ConfigDict]]:
    """The name and the config of each network that the arguments ask for.

    Raises `UserError` where they ask for what the experiments do not have.
    """
    experiments, more = arguments.experiments or [QUICKSTART], arguments.overrides
    if not arguments.table and not arguments.grid:
        names = [name.removeprefix("experiments/").replace(".py", "") for name in experiments]
        found = (configs.load_config(name, more) for name in experiments)
        return list(zip(names, found, strict=True))
    from cnn_jax.sweeps import grid, sweep

    if len(experiments) > 1 or (arguments.table and arguments.grid):
        raise UserError("--table or --grid, either goes with one --config", 2)
    file, variant = configs.find_experiment(experiments[0])
    if arguments.grid:
        table, variant = grid.table(arguments.grid, str(file), variant), ""
    else:
        table = find_table(file, arguments.table)
    found = []
    for row in table.rows():
        name = f"{file}:{sweep.join(row.variant, variant)}"
        pairs = [*sweep.as_text(row.overrides), *more]
        found.append((row.name, configs.load_config(name, pairs)))
    return found


def trace(arguments: argparse.Namespace, config: ConfigDict) -> "Graph":
    """The graph of a config's network, for images of its data set, which need not be here."""
    from cnn_jax import models
    from cnn_jax.analysis.draw import program
    from cnn_jax.analysis.summary import input_of
    from cnn_jax.bench.estimate import known

    found = None if arguments.image and arguments.classes else known(config)
    if found:
        image = input_of(config, arguments.image, found.classes)[0] if arguments.image else None
        shape, classes = image or found.image_shape, arguments.classes or found.classes
    else:
        shape, classes = input_of(config, arguments.image, arguments.classes)
    model = configs.call(models.create, "model", config.model, num_classes=classes)
    return program.trace(model, shape)


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Of the wheel's Fontconfig nothing is heard: it warns of what newer settings have."""
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
