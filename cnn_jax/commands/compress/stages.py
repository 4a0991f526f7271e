"""From a recipe to the smallest file: trains, prunes, shares, encodes (Han et al. 2016, Figure 1).

The recipe names its stages, words of its variants, as `STAGES = ("train", "prune", "share")`. The
run of the last stage lies in the workdir, with the file and `measurements.json` beside it, and
those before below `stages`. Each starts from the weights of the one before. The same command goes
on where it was stopped.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

import cnn_jax
from cnn_jax import config as configs
from cnn_jax.analysis.compressed_layers import layer_table
from cnn_jax.commands.arguments import experiment_name
from cnn_jax.compression import archive, network, report
from cnn_jax.config import load_config
from cnn_jax.errors import UserError
from cnn_jax.files import keep_compiled, read_json, read_undamaged, write_json
from cnn_jax.progress import print_line
from cnn_jax.runs import compress
from cnn_jax.runs.directory import MEASUREMENTS, STAGES

START = "compression.start"  # the field that names the run whose weights a stage starts from
FILE = "compressed.cnn"


class Stage(NamedTuple):
    """A training run on the way to the compressed network."""

    name: str
    config: ConfigDict
    folder: Path


def run(arguments: argparse.Namespace, coding: Mapping[str, Any], console: Console) -> None:
    """Takes the stages that are not done, for each seed; prints the sizes and errors of each.

    `coding` says how the values are stored after a stage that does not share them, see
    `runs.compress.coded`.
    """
    keep_compiled()
    recipe = stages(arguments)
    last = list(recipe.values())[-1]
    check_coding(last, coding)
    workdir = arguments.workdir or Path("runs") / experiment_name(arguments)
    for seed in range(last.seed, last.seed + (arguments.seeds or 1)):
        folder = workdir / f"seed-{seed}" if arguments.seeds else workdir
        made = chain(recipe, folder, seed)
        for stage in made:
            print_line(console, f"stage {stage.name}, in {stage.folder}")
            cnn_jax.train(stage.config, stage.folder, console=console)
        if not read_undamaged(folder / MEASUREMENTS, {}):
            file = encode(made[-1], coding)
            write_json(folder / MEASUREMENTS, measure(made, file, index_bits(arguments)))
        show(folder, console)


def check_coding(last: ConfigDict, coding: Mapping[str, Any]) -> None:
    """Raises `UserError` where values that are shared already are to be coded in another way."""
    given = [way for way in ("lossless", "bits", "quality", "images") if coding[way]]
    if last.compression.stage == "share" and given:
        text = "the stage share has shared the values already: leave it out, or end with :prune"
        raise UserError(f"--{given[0]}: {text}", 2)


def index_bits(arguments: argparse.Namespace) -> int:
    """Bits of a gap between two weights in the paper's coding, as the recipe says."""
    file, _ = configs.find_experiment(arguments.config)
    return getattr(configs.load_experiment(file), "INDEX_BITS", report.INDEX_BITS)


def stages(arguments: argparse.Namespace) -> dict[str, ConfigDict]:
    """The configs of the stages, by name, up to the one that the variant names, or of all.

    Where a run to start from is given, those before pruning are left out. A stage takes the
    overrides of the fields that it has.

    Raises `UserError` where the recipe has no stages, or no stage has a field.
    """
    file, variant = configs.find_experiment(arguments.config)
    names = getattr(configs.load_experiment(file), "STAGES", None)
    if names is None:
        raise UserError(f"{file} has no STAGES: train it, and compress the run", 2)
    words = [word for word in variant.split(",") if word]
    last = next((word for word in words if word in names), names[-1])
    words = [word for word in words if word not in names]
    given = {configs.split_override(text)[0]: text for text in arguments.overrides}
    found, unused = {}, set(given)
    for name in names[: names.index(last) + 1]:
        stage = f"{file}:{','.join([*words, name])}"
        fields = set(configs.field_names(load_config(stage)))
        if START in given and START not in fields:
            continue
        found[name] = load_config(stage, [given[field] for field in given if field in fields])
        unused -= fields
    if unused:
        load_config(stage, [given[field] for field in unused])  # says which fields there are
    if "compression" not in found.get(last, {}):
        raise UserError(f"the stage {last} of {file} is no compression: end with {names[-1]}", 2)
    return found


def chain(recipe: dict[str, ConfigDict], folder: Path, seed: int) -> list[Stage]:
    """The stages of one seed, each of which starts from the one before."""
    made: list[Stage] = []
    for name, config in recipe.items():
        own = config.copy_and_resolve_references()
        own.seed = seed
        if made:
            own.compression.start = str(made[-1].folder)
        is_last = len(made) + 1 == len(recipe)
        made.append(Stage(name, own.lock(), folder if is_last else folder / STAGES / name))
    return made


def encode(last: Stage, coding: Mapping[str, Any]) -> Path:
    """Writes the file of the last stage; shared values are kept, all others coded as asked."""
    source, file = compress.open_source(last.folder, "last"), last.folder / FILE
    is_shared = last.config.compression.stage == "share"
    arrays = network.tied(source.variables) if is_shared else compress.coded(source, **coding)
    compress.write(file, arrays, source)
    return file


def show(folder: Path, console: Console) -> None:
    """Prints the sizes of the layers, and a line with those of the file and the errors."""
    console.print(layer_table(report.rows(archive.read(folder / FILE).arrays)))
    numbers = read_json(folder / MEASUREMENTS)
    errors = (f"{numbers[f'{when}/top1_error']:.2%} {when}" for when in ("before", "after"))
    size = f"{numbers['file/bytes']:,} bytes, {numbers['file/rate']:.2f} times smaller than float32"
    print_line(console, f"{folder / FILE}: {size}; top-1 error {', '.join(errors)}")


def measure(made: list[Stage], file: Path, gap_bits: int) -> dict[str, float]:
    """Errors (0-1) and sizes by metric, for Tables 1 to 5 of Han et al. (2016).

    `file/rate` counts everything that is in our file, `huffman_gaps_4/rate` the paper's coding with
    gaps of 4 bits, without biases. Sizes of layers are in % of float32, their gaps of `gap_bits`.
    """
    trained = [stage for stage in made if "compression" in stage.config]
    measured = {"before": trained[0].config.compression.start}
    measured |= {f"after {stage.name}": stage.folder for stage in trained} | {"after": file}
    numbers: dict[str, float] = {"stages/seconds": seconds(made)}
    for name, path in measured.items():
        found = cnn_jax.evaluate(path, split="test", data=made[-1].config.data.path)
        numbers |= {f"{name}/{k}": found[k] for k in ("top1_error", "top5_error") if k in found}
    arrays = archive.read(file).arrays
    values = sum(np.size(x) for x in jax.tree.leaves(cnn_jax.load_run(file).variables()))
    size = file.stat().st_size
    numbers |= {"file/bytes": size, "file/kilobytes": size / 1e3, "file/rate": 4 * values / size}
    rows = report.rows(arrays, gap_bits)
    for row in [*rows, report.total(rows)]:
        entries = max(row.entries, 1)
        columns = {
            "density": 100 * row.kept / row.weights,
            "weight_bits": row.codes / entries,
            "weight_bits_huffman": row.codes_huffman / entries,
            "index_bits": row.gaps / entries,
            "index_bits_huffman": row.gaps_huffman / entries,
            "size": 100 * row.size,
            "size_huffman": 100 * row.size_huffman,
        }
        numbers |= {f"{row.layer}/{column}": value for column, value in columns.items()}
    for bits in (4, 5):  # the released SqueezeNet's, and those of the LeNets' tables
        numbers[f"huffman_gaps_{bits}/rate"] = (
            1 / report.total(report.rows(arrays, bits)).size_huffman
        )
    return numbers


def seconds(made: list[Stage]) -> float:
    """That all stages took to train."""
    return sum(cnn_jax.load_run(stage.folder).summary["train"]["seconds"] for stage in made)
