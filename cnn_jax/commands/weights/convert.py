"""Converts weights of any known source to Flax variables, or ours to a state dict."""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cnn_jax.errors import UserError
from cnn_jax.progress import print_line


def add_arguments(add) -> None:
    """The network, the file of its weights, and the file to write."""
    help_name = "torchvision's name of the network, such as resnet50; without it, it is recognized"
    add("name", nargs="?", metavar="NAME", help=help_name)
    add("file", type=Path, metavar="FILE", help="weights of any source, or our .safetensors")
    add("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    add("--check", action="store_true", help="compare each layer with torchvision's network")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Converts the weights; with `--check` prints how far each layer is from PyTorch's."""
    from cnn_jax.interop import compare
    from cnn_jax.interop import convert as converter

    if arguments.name is None:
        if arguments.check:
            raise UserError("--check compares with a network of torchvision: give its NAME", 2)
        found = converter.recognized(arguments.file, arguments.out)
        print_line(console, f"{arguments.out}: {found}")
        return
    done, state = converter.convert(arguments.name, arguments.file, arguments.out)
    print_line(console, f"{arguments.out}: {done} of {arguments.name}")
    if not arguments.check:
        return
    images = np.random.default_rng(0).standard_normal((2, 224, 224, 3), np.float32)
    rows = compare.layer_differences(arguments.name, state, images)
    table = Table("layer", "in PyTorch", "largest difference", "relative")
    for row in rows:
        table.add_row(row.layer, row.torch_layer, f"{row.largest:.2e}", f"{row.relative:.2e}")
    console.print(table)
    first = next((row.layer for row in rows if row.relative > 1e-4), None)
    print_line(console, f"first layer that differs by more than 1e-4 (relative): {first or 'none'}")
