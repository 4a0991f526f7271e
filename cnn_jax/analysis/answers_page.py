"""What the page of a run tells of its answers to a split: errors, calibration, worst images."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnn_jax.analysis import page
from cnn_jax.analysis.page import Block, section, table
from cnn_jax.runs import Run, results

if TYPE_CHECKING:
    from cnn_jax.analysis.explain.answers import Answers

SIDE = 160  # of an image on the page, in pixels, at most


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


def sections(answers: "Answers", what: str, images: bool) -> list[Block]:
    """What the network takes for what, how sure it may be, and where it errs most.

    Args:
      what: which split the answers are to, at which step.
      images: whether the worst examples are shown.
    """
    from cnn_jax.analysis.explain import hardest

    wrong = int((answers.predicted != answers.predictions.labels).sum())
    total = len(answers.predictions.labels)
    found = [
        section(
            "What it takes for what",
            page.text(f"{wrong:,} of {total:,} wrong: {what}."),
            {"kind": "side", "blocks": [taken_for(answers), by_class(answers)]},
            short_title="Errors",
        ),
        sure(answers),
    ]
    if images:
        found.append(
            section(
                "The worst answers",
                page.text("The largest losses: the true class, what it was taken for, how surely."),
                gallery(answers, hardest.worst(answers, min(24, total))),
                page.heading("The least sure answers"),
                gallery(answers, hardest.least_sure(answers, min(12, total))),
                short_title="Images",
            )
        )
    return found


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
    if len(names) <= confusion.NAMED:
        matrix = {"kind": "matrix", "names": names, "counts": counts.tolist()}
        return [page.heading("Confusion matrix"), matrix]
    pairs = confusion.most_confused(answers, 50)
    rows = [(names[p.label], names[p.predicted], len(p.examples)) for p in pairs]
    return [page.heading("Most confused"), table(("true class", "taken for", "times"), rows)]


def by_class(answers: "Answers") -> list[Block]:
    """The errors of each class."""
    from cnn_jax.analysis.explain import confusion
    from cnn_jax.evaluation import files

    rows = [
        (
            *(row["class"], row["examples"], f"{100 * row['top1_error']:.2f}"),
            f"{row['taken_for']} ({row['times']})" if row["times"] else None,
        )
        for row in files.per_class(answers.predictions, answers.class_names)
    ]
    columns = ("class", "examples", "error, %", "mostly taken for")
    search = "search the classes" if len(rows) > confusion.NAMED else ""
    return [page.heading("Classes"), table(columns, rows, search)]


def gallery(answers: "Answers", places: Sequence[int]) -> Block:
    """Examples with their true classes, and what they were taken for."""
    items = [(page.image(png(answers.view(i))), answers.text(i)) for i in places]
    return {"kind": "gallery", "wide": False, "items": items}


def png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 1 or 3] as a PNG file, of `SIDE` pixels at most."""
    from PIL import Image

    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((SIDE, SIDE))
    image.save(file, "PNG")
    return file.getvalue()
