"""The layers of a compressed network as Tables 2 to 5 of Han et al. (2016) list them."""

from collections.abc import Sequence

from rich.table import Table

from cnn_jax.compression import report


def layer_table(rows: Sequence[report.Row]) -> Table:
    """A row for each layer, and their sum."""
    columns = ("weights", "kept", "code bits", "Huffman", "gap bits", "Huffman", "rate")
    table = Table("layer", *columns)
    for i, row in enumerate([*rows, report.total(rows)]):
        if i == len(rows):
            table.add_section()
        sizes = (row.codes, row.codes_huffman, row.gaps, row.gaps_huffman)
        bits = (f"{size / max(row.entries, 1):.1f}" for size in sizes)
        kept = f"{row.kept / max(row.weights, 1):.1%}"
        table.add_row(
            row.layer, f"{row.weights:,}", kept, *bits, f"{1 / max(row.size_huffman, 1e-9):.1f}x"
        )
    return table
