"""Shows layers, shapes, parameters and multiply-adds of a network, beside the published numbers."""

import argparse
import json

from rich.console import Console
from rich.table import Table

from cnn_jax import config as configs
from cnn_jax.commands.arguments import add_config, load_config, positive
from cnn_jax.progress import print_line


def add_arguments(add) -> None:
    """The network, and the size of its images."""
    add_config(add)
    add("--image", metavar="HxWxC", help="the size of the input; default that of the data set")
    add("--classes", type=positive, metavar="N", help="default those of the data set")
    add("--json", action="store_true", help="prints JSON, for programs")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Prints the layers, the totals, and the differences from the published totals."""
    from cnn_jax import models
    from cnn_jax.analysis.summary import input_of, layers_of, total

    config = load_config(arguments)
    shape, classes = input_of(config, arguments.image, arguments.classes)
    model = configs.call(models.create, "model", config.model, num_classes=classes)
    rows = layers_of(model, shape)
    quantities = ("parameters", "multiply_adds", "activation_bytes")
    totals = {name: total(rows, name) for name in quantities}
    published = configs.load_module(arguments.home / "experiments" / "published.py")
    known = published.find(config.model.to_dict(), classes, shape[0])
    if arguments.json:
        layers = [row._asdict() for row in rows]
        sizes = [size._asdict() for size in known]
        print(json.dumps({"layers": layers, "total": totals, "published": sizes}, indent=1))
        return
    table = Table("layer", "kind", "output", "kernel", "parameters", "multiply-adds", "KiB")
    for row in rows:
        sizes = ["x".join(map(str, s)) for s in (row.output_shape, row.kernel_shape)]
        counts = (f"{n:,}" for n in (row.parameters, row.multiply_adds, row.activation_bytes >> 10))
        table.add_row(row.name, row.kind, *sizes, *counts)
    table.add_section()
    counts = list(totals.values())
    table.add_row("total", "", "", "", *(f"{n:,}" for n in (*counts[:2], counts[2] >> 10)))
    console.print(table)
    for size in known:
        difference = total(rows, size.quantity, size.auxiliary) - size.value
        print_line(
            console,
            f"{size.source}: {size} {size.quantity.replace('_', '-')}, "
            f"difference {difference:+,.0f}, {difference / size.value:+.2%}",
        )
