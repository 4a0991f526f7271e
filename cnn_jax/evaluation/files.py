"""The files of an evaluation: a table by class, the confusion matrix, the logits."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax.evaluation.predict import Predictions
from cnn_jax.files import write_arrays
from cnn_jax.optim import losses
from cnn_jax.runs import results


def confusion(predictions: Predictions, classes: int) -> np.ndarray:
    """int64 [classes, classes]: how many examples of each class (row) were predicted as each."""
    predicted = predictions.logits.argmax(1)
    flat = np.bincount(predictions.labels * classes + predicted, minlength=classes**2)
    return flat.reshape(classes, classes)


def per_class(predictions: Predictions, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row for each class that has examples: its errors, and its most frequent confusion."""
    rank = np.asarray(losses.ranks(predictions.logits, predictions.labels))
    matrix, rows = confusion(predictions, len(class_names)), []
    for label in np.unique(predictions.labels):
        own, others = rank[predictions.labels == label], matrix[label].copy()
        others[label] = 0
        worst = int(others.argmax())
        rows.append(
            {
                "label": int(label),
                "class": class_names[label],
                "examples": len(own),
                "top1_error": float((own >= 1).mean()),
                "top5_error": float((own >= 5).mean()),
                "taken_for": class_names[worst] if others[worst] else "",
                "times": int(others[worst]),
            }
        )
    return rows


def write(
    folder: Path,
    result: dict[str, Any],
    predictions: Predictions,
    class_names: tuple[str, ...],
    with_logits: bool,
) -> Path:
    """Writes `per_class.csv`, `confusion.csv` and, with logits, `predictions.npz`.

    They go into a folder of their own below `folder`, which is returned. `results.json` in `folder`
    lists all evaluations, see `runs.results`.
    """
    own = folder / result["files"]
    own.mkdir(parents=True, exist_ok=True)
    rows = per_class(predictions, class_names)
    write_csv(own / "per_class.csv", [list(rows[0]), *(row.values() for row in rows)])
    matrix = confusion(predictions, len(class_names))
    table = [[name, *counts] for name, counts in zip(class_names, matrix.tolist(), strict=True)]
    write_csv(own / "confusion.csv", [["true class", *class_names], *table])
    if with_logits:
        arrays = {**predictions._asdict(), "class_names": np.array(class_names)}
        write_arrays(own / "predictions.npz", arrays)
    results.add(folder, result)
    return own


def write_csv(path: Path, rows: list) -> None:
    """Writes the rows of a table; the first has the names of the columns."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows(rows)
