"""The page of one run: its curves, what it gets wrong, its configuration, and where it trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnn_jax import config as configs
from cnn_jax import models
from cnn_jax.analysis import page
from cnn_jax.analysis.page import Block, section, table
from cnn_jax.files import read_undamaged
from cnn_jax.runs import Run, metrics, results
from cnn_jax.runs.directory import FIELDS

NUMBERS = ("step", "epoch", "seconds", "loss", "top1_error", "top5_error")
POINT = (*NUMBERS, "learning_rate", "images_per_second", "data_wait")
POINTS = 500  # of a curve; more are averaged
COLORS = {"done": "good", "running": "soft", "new": "soft", "preempted": "soft"}
MINUTE, HOUR = 60, 3600


def of_run(run: Run, commands: Sequence[str], of_answers: Sequence[Block] = ()) -> str:
    """The HTML of the page.

    Args:
      commands: that go on with the run.
      of_answers: the sections of `answers_page`, if there are any.
    """
    lines = metrics.read(run.path)
    sections = [result(run, lines)] if lines else []
    sections.append(section("Curves", {"kind": "curves", "by_split": True, "lines": curves(lines)}))
    if found := results.read(run.path / results.FOLDER):
        sections.append(evaluations(found))
    sections += [*of_answers, configuration(run), environment(run)]
    sections.append(section("Go on with it", page.commands(commands), short_title="Commands"))
    path = run.path.resolve()
    name = f"{path.parent.name}/{path.name}" if path.name.startswith("seed-") else path.name
    badges = [(run.status, COLORS.get(run.status, "bad"))]
    return page.page(name, sections, badges, facts(run))


def facts(run: Run) -> list[str]:
    """What is trained on what, for how long."""
    config = run.config
    ours, name = config.model.to_dict(), config.model.name
    defaults = models.options(name) if name in models.names() else {}
    options = [
        f"{option}={value}"
        for option, value in ours.items()
        if option != "name" and (option not in defaults or value != defaults[option])
    ]
    dataset = read_undamaged(run.path / "dataset.json", {}, *FIELDS["dataset.json"])
    sizes = dataset.get("examples", {})
    counts = ", ".join(f"{count:,} {split}" for split, count in sizes.items())
    trained = f"{config.data.name} ({counts})" if counts else config.data.name
    duration, batch = config.training.duration, config.training.batch_size
    lines = [" ".join([name, *options]), f"{trained}; {duration}, batches of {batch}"]
    return [f"{lines[0]} on {lines[1]}, seed {config.seed}"]


def result(run: Run, lines: Sequence[Mapping[str, Any]]) -> Block:
    """The last numbers."""
    items = []
    for split in ("test", "validation", "train"):
        own = [line for line in lines if line["split"] == split]
        if not own:
            continue
        last = own[-1]
        note = f"loss {last['loss']:.4g}, top\u20115\xa0{100 * last['top5_error']:.2f}\xa0%"
        items.append((f"{split} error", f"{100 * last['top1_error']:.2f} %", note))
    validated = [line for line in lines if line["split"] == "validation"]
    if validated:
        best = min(validated, key=lambda line: line["top1_error"])
        where = f"epoch {best['epoch']:.4g}, step {best['step']:,}"
        items.append(("best validation error", f"{100 * best['top1_error']:.2f} %", where))
    last = lines[-1]
    items.append(("trained", f"{last['epoch']:.4g} epochs", f"{last['step']:,} steps"))
    rates = [line["images_per_second"] for line in lines if "images_per_second" in line]
    speed = f"{np.median(rates):,.0f} images/s" if rates else ""
    items.append(("time", duration(last["seconds"]), speed))
    measured = [(name, f"{value:.5g}", "") for name, value in run.measurements.items()]
    return section("Result", {"kind": "numbers", "items": items + measured})


def duration(seconds: float) -> str:
    """A time as people say it: "48 s", "3.5 min", "12.1 h"."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.1f} min"
    return f"{seconds / HOUR:.1f} h"


def curves(lines: Sequence[Mapping[str, Any]]) -> list[Block]:
    """A line for each split, of `POINTS` points at most."""
    found = []
    for split in dict.fromkeys(line["split"] for line in lines):
        own = thinned([line for line in lines if line["split"] == split])
        about = {"name": split.replace("_", ", "), "group": split, "split": split}
        found.append({**about, "columns": page.columns(own, split, POINT)})
    return found


def thinned(lines: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lines of a split, or the means of as many neighbors as it takes to have `POINTS`."""
    size = -(-len(lines) // POINTS)
    groups = [lines[first : first + size] for first in range(0, len(lines), size)]
    return [
        {
            "split": own[-1]["split"],
            "step": own[-1]["step"],
            **{
                name: float(np.mean([line[name] for line in own]))
                for name in POINT
                if name != "step" and all(name in line for line in own)
            },
        }
        for own in groups
    ]


def evaluations(found: Sequence[Mapping[str, Any]]) -> Block:
    """What `launch.py eval` measured, the latest first."""
    names = ("protocol", "split", "step", "weights", "examples")
    errors = ("top1_error", "top5_error")
    rows = [
        [
            *(one.get(name) for name in names),
            *(f"{100 * one[name]:.2f}" if name in one else None for name in errors),
            f"{one['loss']:.4f}" if "loss" in one else None,
            one.get("views"),
        ]
        for one in reversed(found)
    ]
    columns = (*names, "top-1 error, %", "top-5 error, %", "loss", "views")
    return section("Evaluations", table(columns, rows))


def configuration(run: Run) -> Block:
    """Every field."""
    rows = shown(run.config.to_dict())
    return section("Configuration", table(("field", "value"), rows, "search the fields"))


def shown(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every field of nested settings, and its value as people read it."""
    return [
        (field, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
        for field, value in configs.flatten(tree).items()
    ]


def environment(run: Run) -> Block:
    """Where it began, and what differed where it went on."""
    found = read_undamaged(run.path / "environment.json", {"later": []}, "later")
    before = {name: value for name, value in found.items() if name != "later"}
    blocks: list[Block] = [table(("what", "value"), shown(before))]
    for number, later in enumerate(found["later"], 2):
        changed = configs.changes(before, later)
        rows = [(field, *pair) for field, pair in changed.items()]
        blocks += [page.heading(f"Start {number} in another environment")]
        blocks += [table(("what", "before", "then"), rows)]
        before = later
    return section("Environment", *blocks)
