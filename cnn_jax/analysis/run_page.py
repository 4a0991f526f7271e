"""The page of one run: its curves, what it gets wrong, its configuration, and where it trained."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_jax import config as configs
from cnn_jax import models
from cnn_jax.analysis import page
from cnn_jax.analysis.page import Block, section, table
from cnn_jax.files import read_undamaged
from cnn_jax.runs import Run, metrics, results
from cnn_jax.runs.directory import FIELDS

if TYPE_CHECKING:
    from cnn_jax.analysis.explain.answers import Answers

NUMBERS = ("step", "epoch", "seconds", "loss", "top1_error", "top5_error")
POINT = (*NUMBERS, "learning_rate", "images_per_second", "data_wait")
POINTS = 500  # of a curve; more are averaged
CLASSES = 40  # that a confusion matrix shows
COLORS = {"done": "good", "running": "soft", "new": "soft", "preempted": "soft"}
MINUTE, HOUR = 60, 3600


def of_run(run: Run, program: str, answers: "Answers | None", what: str, images: bool) -> str:
    """The HTML of the page.

    Args:
      program: what a user types before a command.
      answers: to a split; None leaves out what is made of them.
      what: which split they are of, by which protocol, at which step.
      images: whether the worst examples are shown, too.
    """
    lines = metrics.read(run.path)
    sections = [result(run, lines)] if lines else []
    sections.append(section("Curves", {"kind": "curves", "by_split": True, "lines": curves(lines)}))
    if found := results.read(run.path / results.FOLDER):
        sections.append(evaluations(found))
    if answers:
        sections += in_answers(answers, what, images)
    sections += [configuration(run), environment(run), usage(run, program)]
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


def saved_answers(run: Run) -> tuple["Answers", str] | None:
    """The answers that the latest evaluation with logits left, and of what; None without one."""
    from cnn_jax.analysis.explain.answers import Answers
    from cnn_jax.evaluation.predict import Predictions

    folder = run.path / results.FOLDER
    for one in reversed(results.read(folder)):
        file = folder / one["files"] / "predictions.npz"
        if file.exists():
            with np.load(file) as arrays:
                names = tuple(map(str, arrays["class_names"]))
                found = Predictions(*(arrays[name] for name in Predictions._fields))
            what = f"{one['split']} split, protocol {one['protocol']}, weights {one['weights']}"
            step = f", step {one['step']:,}" if "step" in one else ""
            return Answers(found, names, no_view), f"{what}{step}"
    return None


def evaluated(run: Run, data: str | None) -> tuple["Answers", str]:
    """The answers to the split that `launch.py eval` takes, and of what they are.

    Args:
      data: where it is now; by default where the run found it.
    """
    from cnn_jax.analysis.explain import answers
    from cnn_jax.evaluation import target

    opened = target.of_run(run, [f"data.path={data}"] if data else [])
    split = opened.examples(None)[0]
    found = answers.of_split(run, split, data=data)
    return found, f"{split} split, step {run.find_step('last'):,}"


def no_view(i: int) -> np.ndarray:
    """Saved answers have no images."""
    raise LookupError(f"the image of example {i} is not kept")


def in_answers(answers: "Answers", what: str, images: bool) -> list[Block]:
    """What the network takes for what, how sure it may be, and where it errs most."""
    from cnn_jax.analysis.explain import hardest

    wrong = int((answers.predicted != answers.predictions.labels).sum())
    total = len(answers.predictions.labels)
    sections = [
        section(
            "What it takes for what",
            page.text(f"{wrong:,} of {total:,} wrong: {what}."),
            {"kind": "side", "blocks": [taken_for(answers), by_class(answers)]},
            short_title="Errors",
        ),
        sure(answers),
    ]
    if images:
        sections.append(
            section(
                "The worst answers",
                page.text("The largest losses: the true class, what it was taken for, how surely."),
                gallery(answers, hardest.worst(answers, min(24, total))),
                page.heading("The least sure answers"),
                gallery(answers, hardest.least_sure(answers, min(12, total))),
                short_title="Images",
            )
        )
    return sections


def sure(answers: "Answers") -> Block:
    """Whether it is right as often as it is sure."""
    from cnn_jax.analysis.explain import calibration

    found = calibration.calibration(answers)
    bins = {name: getattr(found, name).tolist() for name in found._fields[1:]}
    ece = (
        f"Expected calibration error {found.error:.2%}: the mean gap between how sure the network "
        "is and how often it is right (arXiv:1706.04599)."
    )
    columns = ("confidence, %", "examples", "its mean, %", "right, %")
    rows = [
        (
            f"{100 * found.edges[i]:.0f} to {100 * found.edges[i + 1]:.0f}",
            int(found.count[i]),
            *(f"{100 * values[i]:.1f}" for values in (found.confidence, found.accuracy)),
        )
        for i in np.flatnonzero(found.count)[::-1]
    ]
    blocks = [[{"kind": "reliability", **bins}], [table(columns, rows)]]
    shown = {"kind": "side", "blocks": blocks}
    return section("How sure it may be", page.text(ece), shown, short_title="Calibration")


def taken_for(answers: "Answers") -> list[Block]:
    """The confusion matrix of few classes, the most confused pairs of many."""
    from cnn_jax.analysis.explain import confusion

    counts, names = confusion.confusion(answers), answers.class_names
    if len(names) <= CLASSES:
        matrix = {"kind": "matrix", "names": names, "counts": counts.tolist()}
        return [page.heading("Confusion matrix"), matrix]
    pairs = confusion.most_confused(answers, 50)
    rows = [(names[p.label], names[p.predicted], len(p.examples)) for p in pairs]
    return [page.heading("Most confused"), table(("true class", "taken for", "times"), rows)]


def by_class(answers: "Answers") -> list[Block]:
    """The errors of each class."""
    from cnn_jax.evaluation import files

    rows = [
        (
            *(row["class"], row["examples"], f"{100 * row['top1_error']:.2f}"),
            f"{row['taken_for']} ({row['times']})" if row["times"] else None,
        )
        for row in files.per_class(answers.predictions, answers.class_names)
    ]
    columns = ("class", "examples", "error, %", "mostly taken for")
    return [page.heading("Classes"), table(columns, rows)]


def gallery(answers: "Answers", places: Sequence[int]) -> Block:
    """Examples with their true classes, and what they were taken for."""
    items = [(page.image(png(answers.view(i))), answers.text(i)) for i in places]
    return {"kind": "gallery", "wide": False, "items": items}


def png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 1 or 3] as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


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


def usage(run: Run, program: str) -> Block:
    """How to go on with the run."""
    lines = [
        f"{program} eval {run.path}",
        f"{program} predict {run.path} IMAGE.png",
        f"{program} report {run.path} --page --pictures",
        f"python -c 'import cnn_jax; print(cnn_jax.load_run(\"{run.path}\").history)'",
    ]
    return section("Go on with it", page.commands(lines), short_title="Commands")
