"""One self-contained HTML page: the tables, the figures, and curves that one can look into."""

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
    """HTML of (facts, lines, records, PNG file) of each table; nothing is loaded from elsewhere."""
    data = {"columns": markdown.COLUMNS, "tables": [section(*table) for table in tables]}
    # "</script>" in a name would end the element.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return TEMPLATE.read_text().replace("DATA", text, 1)


def section(
    facts: dict[str, Any], lines: Sequence[Line], records: Sequence[Record], figure: Path
) -> dict[str, Any]:
    """What the page shows of a table."""
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
    """The points of a run; what is not finite is no number in JSON, and on no curve."""
    row, departed = record["recipe"]["row"], record["recipe"]["departures"]
    length = departed[0] if departed else "the recipe in full"
    return {
        "row": row,
        "name": f"{row}, seed {record['config']['seed']}, {length}",
        "points": [
            {
                name: point[name]
                for name in POINT
                if name in point and (name == "split" or math.isfinite(point[name]))
            }
            for point in record["evaluations"]
        ],
    }
