"""Tables and files of an evaluation."""

import csv
import json

import numpy as np
import pytest

from cnn_jax.evaluation import files

NAMES = tuple("abcdefgh")


def test_the_confusion_matrix_counts_every_example_once(predictions):
    matrix = files.confusion(predictions, 8)
    expected = np.zeros((8, 8), int)
    for label, row in zip(predictions.labels, predictions.logits, strict=True):
        expected[label, np.argmax(row)] += 1
    np.testing.assert_array_equal(matrix, expected)


def test_the_table_has_a_row_for_each_class_with_examples(predictions):
    rows = files.per_class(predictions, NAMES)
    assert [row["class"] for row in rows] == list("abcdefg")
    assert sum(row["examples"] for row in rows) == 60
    row, matrix = rows[2], files.confusion(predictions, 8)
    others = [count for i, count in enumerate(matrix[2]) if i != 2]
    assert row["top1_error"] == pytest.approx(1 - matrix[2, 2] / matrix[2].sum())
    assert row["times"] == max(others) == matrix[2, NAMES.index(row["taken_for"])]


def test_files_hold_the_tables_the_logits_and_the_list_of_results(predictions, tmp_path):
    result = {"files": "test-center", "loss": 1.0}
    folder = files.write(tmp_path, result, predictions, NAMES, with_logits=True)
    other = {"files": "test-ten_crop", "top1_error": 0.5}
    files.write(tmp_path, other, predictions, NAMES, with_logits=False)
    again = result | {"loss": 7.0}
    files.write(tmp_path, again, predictions, NAMES, with_logits=True)
    assert json.loads((tmp_path / "results.json").read_text()) == [other, again]
    assert not (tmp_path / "test-ten_crop" / "predictions.npz").exists()
    with np.load(folder / "predictions.npz") as arrays:
        np.testing.assert_array_equal(arrays["logits"], predictions.logits)
        np.testing.assert_array_equal(arrays["labels"], predictions.labels)
        assert arrays["class_names"].tolist() == list(NAMES) and len(arrays["index"]) == 60
    with (folder / "confusion.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["true class", *NAMES] and [row[0] for row in rows] == list(NAMES)
    assert sum(int(count) for row in rows for count in row[1:]) == 60
    with (folder / "per_class.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == list("abcdefg")
