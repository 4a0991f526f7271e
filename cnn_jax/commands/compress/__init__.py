"""Compresses a trained network into one small file, which `eval` and `predict` take as a run."""

import argparse
import math
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import cnn_jax
from cnn_jax.commands.arguments import positive
from cnn_jax.errors import UserError
from cnn_jax.progress import print_line

CODING = ("lossless", "bits", "initialization", "quality", "images", "count")


def add_arguments(add) -> None:
    """The network, the file to write, and how the values are stored."""
    source = "a run, a file of weights, torchvision:NAME or hub:OWNER/NAME"
    add("source", type=Path, nargs="?", metavar="RUN_OR_WEIGHTS", help=source)
    add("--out", type=Path, metavar="FILE", help="the file to write")
    add(
        "--config", metavar="FILE[:variant]", help="instead of a run: trains the stages of a recipe"
    )
    add("--config.FIELD", dest="_", metavar="VALUE", help="changes a field: --config.data.path=DIR")
    add("--workdir", type=Path, metavar="DIR", help="of these; default runs/EXPERIMENT-VARIANT")
    add("--seeds", type=positive, metavar="N", help="stages of N networks, each in DIR/seed-I")
    add("--lossless", action="store_true", help="keep every value exactly")
    add("--bits", type=positive, metavar="B", help="share 2^B values per layer by k-means")
    starts = "where k-means starts: linear (default), random or density"
    add("--initialization", default="linear", metavar="NAME", help=starts)
    steps = "steps by rate and distortion, finer for a larger Q; default 7"
    add("--quality", type=quality, metavar="Q", help=steps)
    add(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="to calibrate the steps with; labels are not read",
    )
    add("--count", type=positive, default=100, metavar="N", help="how many of them; default 100")
    add("--step", default="last", help="checkpoint of a run: last, best, or a number")
    add("--split", metavar="NAME", help="evaluates the run on this split, before and after")
    add("--data", metavar="PATH", help="where the data is now; default where the run found it")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Writes the file; prints the table of its layers, and its size."""
    check(arguments)
    if arguments.config:
        from cnn_jax.commands.compress import stages

        stages.run(arguments, coding(arguments), console)
        return
    from cnn_jax.analysis.compressed_layers import layer_table
    from cnn_jax.compression import network, report
    from cnn_jax.files import keep_compiled
    from cnn_jax.runs import compress

    keep_compiled()
    source = compress.open_source(arguments.source, arguments.step)
    # Before the long work: the data may not be there.
    rows = [errors_of("before", arguments.source, arguments.step, arguments)]
    arrays = compress.coded(source, **coding(arguments))
    size = compress.write(arguments.out, arrays, source)
    plain = sum(4 * values.size for values in network.flatten(source.variables).values())
    if layers := report.rows(arrays):  # none where no values are shared
        console.print(layer_table(layers))
    print_line(
        console,
        f"{arguments.out}: {size:,} bytes, {size / 1e6:.3f} MB, {size / 2**20:.3f} MiB; "
        f"{plain / size:.1f} times smaller than float32",
    )
    if arguments.split:
        rows.append(errors_of("after", arguments.out, "last", arguments))
        table = Table("", "loss", "top-1 error", "top-5 error", title=f"{arguments.split} split")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def coding(arguments: argparse.Namespace) -> dict[str, Any]:
    """How the values are stored, as `runs.compress.coded` takes it."""
    return {name: getattr(arguments, name) for name in CODING}


def check(arguments: argparse.Namespace) -> None:
    """Raises `UserError` for arguments that contradict each other, before anything is computed."""
    ways = ("lossless", "bits", "quality")
    given = [f"--{way}" for way in ways if getattr(arguments, way) not in (None, False)]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} exclude each other", 2)
    if arguments.images and (arguments.lossless or arguments.bits):
        raise UserError(f"--images calibrates steps; leave it out with {given[0]}", 2)
    if arguments.split and arguments.source and is_weights(arguments.source):
        raise UserError(
            "--split takes a run, which names its data; for weights from elsewhere use "
            "`launch.py eval --weights=FILE --config=FILE`",
            2,
        )
    if (arguments.source is None) == (arguments.config is None):
        raise UserError(
            "compress takes a RUN_OR_WEIGHTS, or --config=FILE whose stages it trains", 2
        )
    if arguments.config:
        if arguments.out or arguments.split:
            raise UserError("with --config the file lies in --workdir: leave --out, --split out", 2)
        return
    if arguments.out is None:
        raise UserError("--out=FILE is missing: the file to write", 2)
    if not arguments.out.absolute().parent.is_dir():
        raise UserError(f"no folder {arguments.out.parent} to write {arguments.out.name} into")
    if arguments.out.is_dir():
        raise UserError(f"--out={arguments.out} is a folder; name a file in it")


def is_weights(source: Path) -> bool:
    """Whether a name is one of weights alone, which name no data."""
    from cnn_jax.interop.read import SUFFIXES

    return source.suffix in SUFFIXES or str(source).startswith(("torchvision:", "hub:"))


def quality(text: str) -> float:
    """A number from 0 to 20: a bit is worth 10^-Q nats of KL divergence, see `steps.quantize`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 20:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 20")
    return number


def errors_of(name: str, path: Path, step: str, arguments: argparse.Namespace) -> list[str]:
    """A row of the table of errors, for a run or a compressed file; empty without --split."""
    if not arguments.split:
        return []
    found = cnn_jax.evaluate(path, split=arguments.split, step=step, data=arguments.data)
    for line in found["skipped"]:
        print(f"skipped: {line}")
    errors = [f"{found[k]:.2%}" if k in found else "" for k in ("top1_error", "top5_error")]
    return [f"{name}, {os.fspath(path)}", f"{found['loss']:.4f}", *errors]
