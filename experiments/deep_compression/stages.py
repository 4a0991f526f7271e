"""The stages of Deep Compression, with the densities and bits that the paper's tables print."""

from collections.abc import Callable, Iterator, Mapping

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cnn_jax.sweeps.tables import Row, Table

from .. import groups
from . import published

Printed = Mapping[str, Mapping]  # a table of the paper: columns by layer
STAGES = ("train", "prune", "share")
COLUMNS = [column for column in published.LAYER_COLUMNS if column != "weights"]

# Errors, densities and sizes in %.
TOLERANCE = {"error": 0.1, "rate": 2.0, "kilobytes": 2.0, "density": 0.5, "bits": 0.1}
TOLERANCE |= {"bits_huffman": 0.3, "size": 0.3, "size_huffman": 0.3}


def layers(table: Printed) -> Printed:
    """The table without its last row."""
    return {name: row for name, row in table.items() if name != "total"}


def compression(stage: str, table: Printed, rounds: int, until: str) -> ConfigDict:
    """The config group of a stage; `rounds`, `until`: see `cnn_jax.training.compress.prune`."""
    if stage == "prune":
        amount = {name: row["density"] / 100 for name, row in layers(table).items()}
        options = {"rule": "density", "amount": amount, "rounds": rounds, "until": until}
    else:
        bits = {name: row["weight_bits"] for name, row in layers(table).items()}
        options = {"bits": bits, "initialization": "linear"}
    return ConfigDict({"stage": stage, "start": placeholder(str), **options})


def follow(config: ConfigDict, stage: str, table: Printed) -> None:
    """What comes after the training of an ImageNet network, at a hundredth of its rate or less."""
    rate = config.learning_rate.rate / (100 if stage == "prune" else 1e4)
    duration = "12 epochs" if stage == "prune" else "1 epoch"
    config.learning_rate = groups.step(rate, [], factor=0.1)
    config.training.duration = duration
    config.compression = compression(stage, table, rounds=1, until="0 epochs")


def errors_and_size(networks: Mapping[str, str]) -> Iterator[Row]:
    """Rows of Table 1; `networks` has the words of the recipe's variant by name."""
    for name, words in networks.items():
        row = published.TABLE_1[name]
        numbers = {"file/kilobytes": row["kilobytes"][1], "file/rate": row["rate"]}
        for when in ("before", "after"):
            for k, error in zip(("top1", "top5"), row[when], strict=True):
                if error is not None:
                    numbers[f"{when}/{k}_error"] = error
        yield Row(name, words, published=numbers)


def by_layer(name: str, words: str, table: Printed) -> Iterator[Row]:
    """The row of Tables 2 to 5: what is kept of each layer, its bits and its size in %."""
    cells = {f"{layer}/{c}": row[c] for layer, row in table.items() for c in COLUMNS}
    yield Row(name, words, published=cells)


def table(number: int, what: str, rows: Callable[[], Iterator[Row]]) -> Table:
    """A table of the paper; its runs are the stages of `launch.py compress`."""
    return Table(
        f"Han et al. (2016), arXiv:1510.00149, Table {number}: {what}",
        "error before and after all stages, one run; sizes of layers in % of float32",
        "mean",
        rows,
        tolerance=TOLERANCE,
        command="compress",
    )
