"""Compresses a trained network into one small file, which `eval` and `predict` take as a run."""

import argparse
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import cnn_jax
from cnn_jax.commands.arguments import positive
from cnn_jax.errors import UserError
from cnn_jax.progress import print_line

if TYPE_CHECKING:
    from cnn_jax.compression import report

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
BATCH = 25
QUALITY = 7.0


class Source(NamedTuple):
    """A trained network, and what its compressed file tells besides."""

    model: Any
    variables: dict[str, Any]
    preprocessing: Any  # `data.preprocess.Preprocessing`
    about: dict[str, Any]  # config, class_names, num_classes, image_shape


def add_arguments(add) -> None:
    """The network, the file to write, and how the values are stored."""
    source = "a trained run, or the authors' .net file"
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
    steps = f"steps by rate and distortion, finer for a larger Q; default {QUALITY:g}"
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
        from cnn_jax.commands import compress_stages

        compress_stages.run(arguments, console)
        return
    from cnn_jax.compression import network, report
    from cnn_jax.training import compiler

    compiler.enable_cache()
    source = open_source(arguments.source, arguments.step)
    # Before the long work: the data may not be there.
    rows = [errors_of("before", arguments.source, arguments.step, arguments)]
    arrays = coded(source, arguments)
    size = write(arguments.out, arrays, source)
    plain = sum(4 * values.size for values in network.flatten(source.variables).values())
    console.print(layer_table(report.rows(arrays)))
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


def check(arguments: argparse.Namespace) -> None:
    """Raises `UserError` for arguments that contradict each other, before anything is computed."""
    ways = ("lossless", "bits", "quality")
    given = [f"--{way}" for way in ways if getattr(arguments, way) not in (None, False)]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} exclude each other", 2)
    if arguments.images and (arguments.lossless or arguments.bits):
        raise UserError(f"--images calibrates steps; leave it out with {given[0]}", 2)
    if arguments.split and arguments.source and arguments.source.suffix == ".net":
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


def quality(text: str) -> float:
    """A number from 0 to 20: a bit is worth 10^-Q nats of KL divergence, see `steps.quantize`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 20:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 20")
    return number


def open_source(path: Path, step: str) -> Source:
    """Opens a run, a compressed file, or the authors' SqueezeNet."""
    if path.suffix == ".net":
        return squeezenet(path)
    opened = cnn_jax.load_run(path)
    about = {
        "config": opened.config.to_dict(),
        "class_names": list(opened.class_names),
        "num_classes": len(opened.class_names),
        "image_shape": list(opened.image_shape),
    }
    variables = opened.variables(opened.find_step(step))
    return Source(opened.model, variables, opened.preprocessing, about)


def squeezenet(path: Path) -> Source:
    """Reads the authors' network; reverses the input channels of conv1, as their images are BGR."""
    from cnn_jax import models
    from cnn_jax.data.preprocess import Preprocessing
    from cnn_jax.interop import deep_compression

    settings = {"name": "squeezenet", "version": "1.0", "conv10_padding": 1}
    config = {"model": models.options("squeezenet") | settings}
    about = {"config": config, "class_names": None, "num_classes": 1000}
    options = {name: value for name, value in config["model"].items() if name != "name"}
    variables = deep_compression.read(path)
    conv1 = variables["params"]["conv1"]
    conv1["kernel"] = np.ascontiguousarray(conv1["kernel"][:, :, ::-1])
    return Source(
        models.create("squeezenet", num_classes=1000, **options),
        variables,
        Preprocessing(np.float32([123, 117, 104]), np.ones(1, np.float32), None),
        about | {"image_shape": [227, 227, 3]},
    )


def write(path: Path, arrays: Mapping[str, Any], source: Source) -> int:
    """Writes the file, with the preprocessing; returns its size in bytes."""
    from cnn_jax.compression import archive

    own = {name: value for name, value in vars(source.preprocessing).items() if value is not None}
    preprocessing = {f"preprocessing/{name}": np.float32(value) for name, value in own.items()}
    return archive.write(path, {**arrays, **preprocessing}, source.about)


def coded(source: Source, arguments: argparse.Namespace) -> dict[str, Any]:
    """The arrays of the file, stored as the arguments say."""
    from cnn_jax.compression import network
    from cnn_jax.compression.calibrate import Calibration

    if arguments.lossless:
        return network.lossless(source.variables)
    if arguments.bits:
        return network.shared(source.variables, arguments.bits, arguments.initialization)
    calibration = None
    if arguments.images:
        images = read_images(arguments.images, arguments.count, source.about["image_shape"])
        images = np.asarray(source.preprocessing(images))
        batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
        calibration = Calibration(source.model, source.variables, batches)
    chosen = QUALITY if arguments.quality is None else arguments.quality
    return network.in_steps(source.variables, 10.0**-chosen, calibration)


def read_images(folder: Path, count: int, shape: list[int]) -> np.ndarray:
    """`count` images below a folder, evenly spread over its sorted files: uint8 [N, H, W, C]."""
    from cnn_jax.data.folder import decode

    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGES)
    if not files:
        raise UserError(f"no images ({', '.join(IMAGES)}) below {folder}")
    height, width, channels = shape
    chosen = files[:: max(1, len(files) // count)][:count]
    mode = "L" if channels == 1 else "RGB"
    return np.stack([decode(file, (height, width), mode) for file in chosen])


def layer_table(rows: "list[report.Row]") -> Table:
    """A row for each layer and their sum, as in Tables 2 to 5 of Han et al. (2016)."""
    from cnn_jax.compression import report

    columns = ("weights", "kept", "code bits", "Huffman", "gap bits", "Huffman", "rate")
    table = Table("layer", *columns)
    for i, row in enumerate([*rows, report.total(rows)] if rows else []):
        if i == len(rows):
            table.add_section()
        sizes = (row.codes, row.codes_huffman, row.gaps, row.gaps_huffman)
        bits = (f"{size / max(row.entries, 1):.1f}" for size in sizes)
        kept = f"{row.kept / max(row.weights, 1):.1%}"
        table.add_row(
            row.layer, f"{row.weights:,}", kept, *bits, f"{1 / max(row.size_huffman, 1e-9):.1f}x"
        )
    return table


def errors_of(name: str, path: Path, step: str, arguments: argparse.Namespace) -> list[str]:
    """A row of the table of errors, for a run or a compressed file; empty without --split."""
    if not arguments.split:
        return []
    found = cnn_jax.evaluate(path, split=arguments.split, step=step, data=arguments.data)
    for line in found["skipped"]:
        print(f"skipped: {line}")
    errors = [f"{found[k]:.2%}" if k in found else "" for k in ("top1_error", "top5_error")]
    return [f"{name}, {os.fspath(path)}", f"{found['loss']:.4f}", *errors]
