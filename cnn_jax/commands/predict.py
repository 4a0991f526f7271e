"""Shows the likeliest classes of images."""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import cnn_jax
from cnn_jax.commands.arguments import add_run, positive
from cnn_jax.data.folder import decode


def add_arguments(add) -> None:
    """The run and the images."""
    add_run(add)
    add("images", type=Path, nargs="+", metavar="IMAGE", help="PNG or JPEG files")
    add("--top", type=positive, default=3, metavar="K", help="how many classes to show")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Prints the likeliest classes of each image, with their probabilities."""
    opened = cnn_jax.load_run(arguments.run)
    height, width, channels = opened.image_shape
    mode = "L" if channels == 1 else "RGB"
    images = np.stack([decode(file, (height, width), mode) for file in arguments.images])
    top = min(arguments.top, len(opened.class_names))
    table = Table("image", *(f"{i + 1}." for i in range(top)))
    for file, row in zip(arguments.images, opened.predict(images, arguments.step), strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        table.add_row(str(file), *(f"{opened.class_names[i]} {row[i]:.1%}" for i in best))
    console.print(table)
