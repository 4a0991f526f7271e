"""One self-contained HTML page: tables, figures and interactive curves."""

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnn_jax.analysis import markdown
from cnn_jax.analysis.comparison import Line
from cnn_jax.analysis.run_records import Record

TEMPLATE = Path(__file__).with_name("page.html")
POINT = ("split", "step", "epoch", "seconds", "loss", "top1_error", "top5_error")


def page(
    tables: Sequence[tuple[dict[str, Any], Sequence[Line], Sequence[Record], Path]],
) -> str:
    """The HTML of tables, each (facts, lines, records, PNG file); it loads nothing else."""
    data = {"columns": markdown.COLUMNS, "tables": [section(*table) for table in tables]}
    # "</script>" in a name would end the element.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return TEMPLATE.read_text().replace("DATA", text, 1)


def section(
    facts: dict[str, Any], lines: Sequence[Line], records: Sequence[Record], figure: Path
) -> dict[str, Any]:
    """The data of a table for the script of the page."""
    image = base64.b64encode(figure.read_bytes()).decode()
    return {
        "title": facts["title"],
        "protocol": markdown.protocol(facts),
        "commands": facts["commands"],
        "rows": [markdown.cells(line) for line in lines],
        "runs": [curves(record) for record in records],
        "figure": f"data:image/png;base64,{image}",
    }


def curves(record: Record) -> dict[str, Any]:
    """The points of a run, without values that are not finite, which JSON does not have."""
    row, deviations = record["recipe"]["row"], record["recipe"]["deviations"]
    duration = deviations[0] if deviations else "the recipe in full"
    return {
        "row": row,
        "name": f"{row}, seed {record['config']['seed']}, {duration}",
        "points": [
            {
                name: point[name]
                for name in POINT
                if name in point and (name == "split" or math.isfinite(point[name]))
            }
            for point in record["evaluations"]
        ],
    }
