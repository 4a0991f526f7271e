"""From logits to what is reported: errors, a table by class, the confusion matrix, files."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax.data.protocols import Protocol
from cnn_jax.runs.directory import read_json, write_json
from cnn_jax.training import parallel
from cnn_jax.training.predictions import Examples, Predictions, predict
from cnn_jax.training.subjects import Subject

RESULTS = "results.json"


def evaluate(
    subject: Subject,
    weights: Mapping[str, Any],
    examples: Examples,
    protocol: Protocol,
    batch_size: int,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, dict], dict[str, Predictions], dict[int, str]]:
    """Numbers and predictions for each of the named weights, and the images that were skipped.

    Args:
      weights: variables by name.
      batch_size: views at a time, of the size of the subject's evaluation view.
      told: of the views done so far, and of all.
    """
    model = subject.model
    if protocol.name == "multi_scale" and hasattr(model, "fully_convolutional"):
        model = model.clone(fully_convolutional=True)
    predictions, bad = predict(
        model,
        weights,
        subject.preprocessing,
        examples,
        protocol,
        pixels=batch_size * subject.size**2,
        precise=subject.precise(),
        mesh=parallel.data_mesh(),
        threads=subject.config.data.threads,
        told=told,
    )
    skipped = {"skipped": len(bad)}
    return {kind: numbers(p) | skipped for kind, p in predictions.items()}, predictions, bad


def ranks(predictions: Predictions) -> np.ndarray:
    """Of each example how many classes come before the right one; of equal ones the first wins."""
    logits, labels = predictions.logits, predictions.labels[:, None]
    own = np.take_along_axis(logits, labels, 1)
    earlier = np.arange(logits.shape[1]) < labels
    return ((logits > own) | ((logits == own) & earlier) | np.isnan(logits)).sum(1)


def numbers(predictions: Predictions) -> dict[str, Any]:
    """`examples`, `top1_right`, `top5_right`, `top1_error` and `top5_error` (0-1), and `loss`."""
    rank, count = ranks(predictions), len(predictions.labels)
    logits = predictions.logits.astype(np.float64)
    peak = logits.max(1, keepdims=True)
    normaliser = np.log(np.exp(logits - peak).sum(1)) + peak[:, 0]
    own = np.take_along_axis(logits, predictions.labels[:, None], 1)[:, 0]
    right = {k: int((rank < k).sum()) for k in (1, 5)}
    return {
        "examples": count,
        "loss": float((normaliser - own).mean()),
        "top1_error": (count - right[1]) / count,
        "top5_error": (count - right[5]) / count,
        "top1_right": right[1],
        "top5_right": right[5],
    }


def confusion(predictions: Predictions, classes: int) -> np.ndarray:
    """int64 [classes, classes]: examples of each true class (row) taken for each class (column)."""
    said = predictions.logits.argmax(1)
    flat = np.bincount(predictions.labels * classes + said, minlength=classes**2)
    return flat.reshape(classes, classes)


def per_class(predictions: Predictions, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row for each class that has examples, with the class it was most often taken for."""
    rank, matrix = ranks(predictions), confusion(predictions, len(class_names))
    rows = []
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

    They go into a folder of their own below `folder`, whose `results.json` lists all evaluations
    there; one that is repeated takes the place of the earlier one. Returns the folder.
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
        np.savez(own / "predictions.npz", **arrays)
    kept = [old for old in read(folder) if old["files"] != result["files"]]
    write_json(folder / RESULTS, [*kept, result])
    return own


def write_csv(path: Path, rows: list) -> None:
    """Rows of a table; the first has the names of the columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def read(folder: Path) -> list[dict[str, Any]]:
    """The evaluations that were written into a folder, oldest first."""
    path = folder / RESULTS
    return read_json(path) if path.exists() else []
