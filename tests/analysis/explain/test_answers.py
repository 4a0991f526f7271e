"""What is said of the answers to a split: confusions, the hardest examples, calibration."""

import numpy as np
import pytest

import cnn_jax
from cnn_jax.analysis.explain import answers, calibration, confusion, hardest
from cnn_jax.errors import UserError
from tests.analysis.explain import making
from tests.analysis.explain.making import CLASSES, IMAGES, axes, small_run

# Labels cat, cat, dog, dog, ox; taken for cat, dog, cat, cat, ox.
LOGITS = [[3, 0, 0], [0, 1, 0], [5, 0, 0], [9, 0, 0], [0, 0.5, 1]]
ANSWERS = making.answers(LOGITS, [0, 0, 1, 1, 2])


def test_the_answers_to_a_split_are_those_that_the_run_was_measured_by(dense_run):
    run = cnn_jax.load_run(dense_run)
    found = answers.of_split(run)
    wrong = (found.predicted != found.predictions.labels).mean()
    assert wrong == pytest.approx(run.summary["test"]["top1_error"], abs=1e-6)
    assert found.losses.mean() == pytest.approx(run.summary["test"]["loss"], rel=1e-4)
    seen = [found.view(i) for i in range(3)]
    np.testing.assert_allclose(found.probabilities[:3], run.predict(seen), atol=1e-5)


def test_images_with_labels_give_answers_too():
    run = small_run()
    found = answers.of_images(run, IMAGES, [0, 1, 2, 0])
    np.testing.assert_allclose(found.probabilities, run.predict(IMAGES), atol=1e-6)
    np.testing.assert_array_equal(found.view(2), IMAGES[2])


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2, 3], [0, 0, 0, -1]])
def test_labels_that_are_none_of_the_images_are_refused(labels):
    with pytest.raises(UserError, match="labels"):
        answers.of_images(small_run(), IMAGES, labels)


def test_the_matrix_has_a_row_for_each_class_and_pairs_the_largest_confusions():
    matrix = confusion.confusion(ANSWERS)
    assert matrix.tolist() == [[1, 1, 0], [2, 0, 0], [0, 0, 1]]
    first, second = confusion.most_confused(ANSWERS)
    assert (first.label, first.predicted, first.examples.tolist()) == (1, 0, [3, 2])
    assert (second.label, second.predicted, second.examples.tolist()) == (0, 1, [1])


def test_the_matrix_is_drawn_with_counts_and_names():
    drawn = confusion.draw(axes(), confusion.confusion(ANSWERS), CLASSES)
    assert drawn.images[0].get_array().tolist() == [[0.5, 0.5, 0], [1, 0, 0], [0, 0, 1]]
    assert sorted(text.get_text() for text in drawn.texts) == ["1", "1", "1", "2"]
    assert [text.get_text() for text in drawn.get_xticklabels()] == list(CLASSES)


def test_pairs_are_drawn_one_below_the_other_with_their_surest_examples():
    drawn = confusion.draw_pairs(axes(), ANSWERS, confusion.most_confused(ANSWERS), columns=2)
    assert [image.get_array()[0, 0, 0] for image in drawn.images] == [3, 2, 1, 255]
    assert [text.get_text() for text in drawn.texts] == ["2 dog as cat", "", "1 cat as dog", ""]


def test_the_worst_have_the_largest_loss_and_the_least_sure_the_smallest_margin():
    assert hardest.worst(ANSWERS, 3).tolist() == [3, 2, 1]
    assert hardest.least_sure(ANSWERS, 2).tolist() == [4, 1]


def test_hard_examples_are_drawn_with_what_they_are_and_were_taken_for():
    drawn = hardest.draw(axes(), ANSWERS, [0, 3])
    assert [text.get_text() for text in drawn.texts] == ["cat 91%", "dog as cat 100%"]


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    # Confidences 0.88 (right, wrong), 0.59 (right) and 0.55 (wrong).
    sure = np.array([0.88, 0.88, 0.59, 0.55])
    logits = np.log(np.stack([sure, 1 - sure], 1))
    found = calibration.calibration(making.answers(logits, [0, 1, 0, 1], ("a", "b")), bins=10)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 2, 0]
    assert found.accuracy[[5, 8]].tolist() == [0.5, 0.5]
    assert found.confidence[[5, 8]] == pytest.approx([0.57, 0.88], abs=1e-6)
    assert found.error == pytest.approx((0.07 + 0.38) / 2, abs=1e-6)


def test_a_sure_network_that_is_right_has_no_calibration_error():
    found = calibration.calibration(making.answers([[900, 0], [0, 900]], [0, 1], ("a", "b")))
    assert found.error == 0 and found.count[-1] == 2


def test_a_confidence_on_an_edge_is_in_the_bin_below():
    even = making.answers([[0, 0]], [0], ("a", "b"))
    assert calibration.calibration(even, bins=2).count.tolist() == [1, 0]


def test_the_diagram_has_a_bar_for_each_filled_bin():
    found = calibration.calibration(ANSWERS, bins=4)
    drawn = calibration.draw(axes(), found)
    heights = [bar.get_height() for bar in drawn.containers[0]]
    assert heights == found.accuracy[found.count > 0].tolist()
    assert drawn.get_title() == f"ECE {found.error:.2%}, 5 examples"
