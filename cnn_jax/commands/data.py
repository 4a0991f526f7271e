"""Prepares a data set from the archives as they are published, or checks a prepared one.

`split` cuts a file or folder into pieces that are small enough to be sent, `join` puts them
together again; every byte is compared with its checksum.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cnn_jax import errors
from cnn_jax.commands.arguments import positive
from cnn_jax.data import COUNTS, tfds_source
from cnn_jax.data.prepare import archives, pieces
from cnn_jax.data.prepare import check as checker
from cnn_jax.data.prepare import tfds_writer as preparer
from cnn_jax.errors import UserError
from cnn_jax.progress import ProgressBar, print_line

ACTIONS = ("prepare", "check", "split", "join")
SHOWN = 20  # damaged images that are named


def add_arguments(add) -> None:
    """What to do with which data set, and where."""
    actions = "make a data set; read and decode all of one; cut a file into pieces; join them"
    add("action", metavar="|".join(ACTIONS), help=actions)
    name = f"{', '.join(COUNTS)}, or any for an image folder; a PATH to split or to join"
    add("name", metavar="NAME", help=name)
    add("--from", dest="source", type=Path, metavar="DIR", help="the folder of the published files")
    add("--data_dir", type=Path, metavar="DIR", help="of all data sets; default the cache folder's")
    add("--out", type=Path, metavar="DIR", help="of split and join; default the current folder")
    size = f"of a piece at most; default {pieces.MEGABYTES}"
    add("--megabytes", type=positive, default=pieces.MEGABYTES, metavar="N", help=size)
    add("--on_error", default="raise", help="a damaged image: raise (default), or skip it")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Prepares or checks the data set, or splits or joins a file."""
    if arguments.action not in ACTIONS:
        raise errors.unknown("action of data", arguments.action, ACTIONS)
    if arguments.action in ("split", "join"):
        split_or_join(arguments, console)
        return
    data_dir = (arguments.data_dir or tfds_source.default_folder()).expanduser()
    if arguments.action == "prepare":
        prepare(arguments, data_dir, console)
    else:
        check(arguments.name, data_dir, console)


def split_or_join(arguments: argparse.Namespace, console: Console) -> None:
    """Prints what was made."""
    path, out = Path(arguments.name).expanduser(), arguments.out or Path()
    if arguments.action == "join":
        print_line(console, f"{pieces.join(path, out)}: joined, every byte as it was")
        return
    for file in pieces.split(path, out, arguments.megabytes):
        print_line(console, f"{file}: {file.stat().st_size / 1e6:,.1f} MB")


def prepare(arguments: argparse.Namespace, data_dir: Path, console: Console) -> None:
    """Writes the data set and prints how many images each split has."""
    name, source = arguments.name, arguments.source
    if source is None:
        raise UserError(f"name the folder that has the files of {name} with --from=DIR", 2)
    try:
        found = archives.find(name, source.expanduser())
    except UserError as error:  # of the sources, which configs read from data.path
        text = str(error).replace("--config.data.path=", "--from=").replace("data.path", "--from")
        raise UserError(text, error.exit_code) from None
    with ProgressBar(console) as bar:
        place, notes = preparer.prepare(
            name, found, data_dir, on_error=arguments.on_error, report=bar.show
        )
    print_line(console, f"{place}: prepared, every shard read back and its checksum compared")
    for split in found.splits:
        shards = [f for file, f in notes["shards"].items() if preparer.split_of(file) == split]
        examples = sum(shard["examples"] for shard in shards)
        skipped = [why for shard in shards for _, why in shard["skipped"]]
        left_out = f", {len(skipped):,} damaged left out" if skipped else ""
        print_line(console, f"{split}: {examples:,} images, shards: {len(shards):,}{left_out}")
        for why in skipped[:SHOWN]:
            print_line(console, f"  {why}")
        note_count(name, split, examples, console)


def check(name: str, data_dir: Path, console: Console) -> None:
    """Reads and decodes every image; prints what each split has, class by class.

    Raises `UserError` where anything is wrong.
    """
    with ProgressBar(console) as bar:
        class_names, splits, problems = checker.check(name, data_dir, bar.show)
    table = Table("split", "images", "shards", "MB", "sizes (height x width)", "mean", "std")
    for split, facts in splits.items():
        numbers = [", ".join(f"{x:.3f}" for x in row) for row in (facts.mean, facts.std)]
        images, megabytes = f"{len(facts.labels):,}", f"{facts.nbytes / 1e6:,.1f}"
        table.add_row(split, images, str(facts.shards), megabytes, sizes(facts.sizes), *numbers)
    console.print(table)
    table = Table("label", "class", *splits)
    columns = [[f"{count:,}" for count in facts.counts] for facts in splits.values()]
    for label, row in enumerate(zip(class_names, *columns, strict=True)):
        table.add_row(str(label), *row)
    console.print(table)
    for split, facts in splits.items():
        note_count(name, split, len(facts.labels), console)
    if problems:
        for problem in problems[:SHOWN]:
            print_line(console, problem)
        raise UserError(f"{name} has {len(problems):,} problems; the first: {problems[0]}")
    print_line(console, f"{name}: complete; every image was decoded")


def sizes(found: dict[tuple[int, int], int]) -> str:
    """The one size of all images, or the range of heights and widths."""
    if len(found) <= 1:
        return "".join(f"{height}x{width}" for height, width in found)
    heights, widths = zip(*found, strict=True)
    return f"{min(heights)}-{max(heights)} x {min(widths)}-{max(widths)}, {len(found):,} different"


def note_count(name: str, split: str, examples: int, console: Console) -> None:
    """Prints a note where a split has more or fewer images than its authors publish."""
    expected = COUNTS.get(name.split(":")[0], {}).get(split, examples)
    if expected != examples:
        print_line(
            console, f"note: {split} has {examples:,} images; as published it has {expected:,}"
        )
