"""HTML pages that load nothing else: tables that sort, figures, and interactive curves.

`page.html`, `page.css` and `page.js` draw what the functions here give them: sections of blocks,
each a mapping whose "kind" names a function of the script.
"""

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_jax.analysis import markdown
from cnn_jax.analysis.comparison import Line
from cnn_jax.analysis.run_records import Record

Block = dict[str, Any]
TEMPLATE = Path(__file__).with_name("page.html")
POINT = ("step", "epoch", "seconds", "loss", "top1_error", "top5_error")
PAPER = re.compile(r" et al\. \(\d+\), arXiv:[\d.]+")  # what titles have after the author
VERDICTS = {"reproduced": "good", "confirmed": "good", "within": "good"}
VERDICTS |= {"above": "bad", "below": "bad", "refuted": "bad"}


def page(
    title: str,
    sections: Sequence[Block],
    badges: Sequence[tuple[str, str]] = (),
    facts: Sequence[str] = (),
) -> str:
    """The HTML of a page.

    Args:
      sections: from `section`.
      badges: beside the title, each with its color: "good", "bad" or "soft".
      facts: lines below it.
    """
    data = {"title": title, "badges": badges, "facts": facts, "sections": sections}
    # "</script>" in a name would end the element.
    text = json.dumps(finite(data), allow_nan=False).replace("<", "\\u003c")
    parts = {"TITLE": title.replace("&", "&amp;").replace("<", "&lt;"), "DATA": text}
    for name, end in (("STYLE", "css"), ("SCRIPT", "js")):
        parts[name] = TEMPLATE.with_suffix(f".{end}").read_text()
    pieces = iter(TEMPLATE.read_text().splitlines(keepends=True))
    return "".join(filled(piece, parts) for piece in pieces)


def filled(line: str, parts: Mapping[str, str]) -> str:
    """A line of the template with the part that it names."""
    name = next((name for name in parts if name in line), None)
    return line.replace(name, parts[name]) if name else line


def finite(value: Any) -> Any:
    """The value with None for numbers that are not finite, which JSON does not have."""
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def section(title: str, *blocks: Block, short_title: str = "") -> Block:
    """A part of a page; the short title stands in the list of its parts."""
    return {"title": title, "short_title": short_title or title, "blocks": blocks}


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], search: str = "", **marks: Any
) -> Block:
    """A table that sorts by a click on a column.

    Args:
      search: what a field for searching says of itself; without it there is none.
      marks: by column, the colors of cells by their first word.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    return {"kind": "table", "columns": columns, "rows": cells, "filter": search, "marks": marks}


def text(words: str) -> Block:
    """A paragraph."""
    return {"kind": "text", "text": words}


def heading(words: str) -> Block:
    """A heading within a section."""
    return {"kind": "heading", "text": words}


def commands(lines: Sequence[str]) -> Block:
    """Commands, a line each."""
    return {"kind": "commands", "lines": lines}


def image(png: bytes) -> str:
    """The address of a PNG file that holds the file itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def of_tables(
    tables: Sequence[tuple[dict[str, Any], Sequence[Line], Sequence[Record], Path]],
) -> str:
    """The page of tables, each (facts, lines, records, PNG file), beside the paper's."""
    return page("Results beside the paper", [of_table(*one) for one in tables])


def of_table(
    facts: dict[str, Any], lines: Sequence[Line], records: Sequence[Record], figure: Path
) -> Block:
    """The section of a table: the comparison, the curves, the figure, and every run."""
    compared = table(markdown.COLUMNS, map(markdown.cells, lines), verdict=VERDICTS)
    picture = [image(figure.read_bytes()), "our points beside the paper's"]
    lines_of = [line for record in records for line in curves_of(record)]
    return section(
        facts["title"],
        text(markdown.protocol(facts)),
        *([commands(facts["commands"])] if facts["commands"] else []),
        compared,
        heading("Curves"),
        {"kind": "curves", "by_split": False, "lines": lines_of},
        heading("Figure"),
        {"kind": "gallery", "wide": True, "items": [picture]},
        heading("Runs"),
        runs_of(records),
        short_title=PAPER.sub("", facts["title"]),
    )


def runs_of(records: Sequence[Record]) -> Block:
    """The table of all runs, finished or not: their last numbers."""
    splits = dict.fromkeys(split for record in records for split in record["summary"])
    rows = []
    for record in records:
        found = record["summary"]
        last = found.get("train", {})
        minutes = [f"{last['seconds'] / 60:.3g}"] if "seconds" in last else [None]
        errors = [f"{100 * found[s]['top1_error']:.2f}" if s in found else None for s in splits]
        about = (record["recipe"]["row"], record["config"]["seed"], record["status"])
        rows.append([*about, f"{last['epoch']:.4g}" if last else None, *minutes, *errors])
    names = [f"{split.replace('_', ', ')} error, %" for split in splits]
    marks = {"done": "good", "diverged": "bad", "failed": "bad"}
    return table(["row", "seed", "status", "epochs", "minutes", *names], rows, status=marks)


def curves_of(record: Record) -> list[Block]:
    """The points of a run, a line for each split."""
    row, deviations = record["recipe"]["row"], record["recipe"]["deviations"]
    duration = deviations[0] if deviations else "the recipe in full"
    name = f"{row}, seed {record['config']['seed']}, {duration}"
    points = record["evaluations"]
    return [
        {"name": name, "group": row, "split": split, "columns": columns(points, split, POINT)}
        for split in dict.fromkeys(point["split"] for point in points)
    ]


def columns(
    points: Sequence[Mapping[str, Any]], split: str, names: Sequence[str]
) -> dict[str, list[float | None]]:
    """The points of a split as columns with five digits; those that no point has are left out."""
    own = [point for point in points if point["split"] == split]
    return {
        name: [rounded(point.get(name)) for point in own]
        for name in names
        if any(name in point for point in own)
    }


def rounded(value: float | None) -> float | None:
    """A number as a curve shows it; steps as they are."""
    return float(f"{value:.5g}") if isinstance(value, float) else value
