"""The registry of results: a JSON file for each finished run, and tables made of these files.

`docs/results.md` has every row, the README a line for each table.
"""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from cnn_jax import config as configs
from cnn_jax import files
from cnn_jax.analysis import comparison, markdown, run_records
from cnn_jax.analysis.comparison import Line
from cnn_jax.analysis.run_records import Record
from cnn_jax.errors import UserError
from cnn_jax.runs.directory import file_name

FOLDER = "experiments/results"
README, PAGE = "README.md", "docs/results.md"
BEGIN = "<!-- generated from experiments/results by `launch.py report --record` -->"
END = "<!-- end of the generated part -->"
COLUMNS = ("row", "metric", "ours", "paper", "verdict", "epochs", "recipe", "a run took", "commit")
SHORT = ("table", "metric", "ours, %", "paper, %", "verdict")
SHOWN = 6  # rows of a table in the README


def record(found: Iterable[Record], home: Path) -> list[Path]:
    """Writes the runs that are done into the registry below `home`; returns the files.

    Raises `UserError`, before it writes anything, where a run of the same row and seed but with
    another config is there already.
    """
    chosen: dict[Path, Record] = {}
    for one in found:
        if one["status"] != "done":
            continue
        recipe = one["recipe"]
        row = file_name(recipe["row"])
        file = home / FOLDER / recipe["name"] / f"{row}-seed-{one['config']['seed']}.json"
        before = chosen.get(file) or (run_records.read(file) if file.exists() else one)
        if changed := configs.changes(before["config"], one["config"]):
            raise UserError(
                f"{file} is the record of another run, with another {', '.join(changed)}: "
                "remove it first, or give one of the two sweeps (or runs) another name"
            )
        chosen[file] = one
    for file, one in chosen.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(file, one)
    return list(chosen)


def renew(home: Path) -> None:
    """Renews the tables in both files; raises `UserError` where a file lacks the marks."""
    for page, made in ((home / PAGE, block(home)), (home / README, overview(home))):
        text = page.read_text()
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise UserError(f"{page} lacks the lines {BEGIN} and {END}, with results between them")
        files.write_text(page, before + made + after)


def block(home: Path) -> str:
    """The part of `docs/results.md` with all results, between its marks."""
    parts = [BEGIN]
    for facts, own in comparison.tables(run_records.find(home / FOLDER)):
        rows = [COLUMNS]
        rows += [cells(line, [r for r in own if is_of(line, r)]) for line in comparison.lines(own)]
        commands = (f"`{command}`" for command in facts["commands"])
        parts += [f"**{facts['title']}**", markdown.protocol(facts), *commands, markdown.grid(rows)]
    return "\n\n".join([*parts, END])


def overview(home: Path) -> str:
    """The part of the README with the first metric of each table, between its marks."""
    rows = [SHORT]
    for facts, own in comparison.tables(run_records.find(home / FOLDER)):
        lines = comparison.lines(own)
        lines = [line for line in lines if line.metric == lines[0].metric and line.values]
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        ours = [f"{line.row} {line.ours:.2f}" for line in lines[:SHOWN]]
        paper = [f"{line.paper:g}" for line in lines[:SHOWN] if line.paper is not None]
        verdicts = dict.fromkeys("; ".join([line.verdict, *line.deviations[:1]]) for line in lines)
        texts = (", ".join(part) for part in (ours + more, paper, verdicts))
        rows.append((facts["title"], lines[0].metric if lines else "", *texts))
    return "\n\n".join([BEGIN, markdown.grid(rows), END])


def is_of(line: Line, run: Record) -> bool:
    """Whether a line counts the run."""
    return comparison.row_and_deviations(run) == (line.row, line.deviations)


def cells(line: Line, runs: Sequence[Record]) -> list[str]:
    """The texts of a line and its runs, by `COLUMNS`."""
    spread = ""
    if len(line.values) > 1:
        spread = f" ± {statistics.stdev(line.values):.2f} (n = {len(line.values)})"
    seconds = statistics.median(run["summary"]["train"]["seconds"] for run in runs)
    devices = runs[0]["environment"]["devices"]
    cores = f" ({runs[0]['environment']['cpus']} cores)" if devices == ["cpu"] else ""
    commits = dict.fromkeys(str(run["environment"]["commit"])[:7] for run in runs)
    return [
        line.row,
        line.metric,
        "" if line.ours is None else f"{line.ours:.2f}{spread}",
        "" if line.paper is None else f"{line.paper:g}",
        line.verdict,
        f"{line.epochs:.4g}",
        comparison.recipe_text(line),
        f"{seconds / 60:.3g} min, {len(devices)} x {devices[0]}{cores}",
        ", ".join(commits),
    ]
