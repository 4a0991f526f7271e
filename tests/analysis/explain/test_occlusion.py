"""Occlusion measures what a covered part was worth."""

import numpy as np
import pytest

from cnn_jax.analysis.explain import occlusion
from cnn_jax.errors import UserError
from tests.analysis.explain.making import IMAGES, small_run


@pytest.fixture(scope="module")
def run():
    return small_run()


def test_each_pixel_has_the_fall_of_the_probability_under_its_square(run):
    found = occlusion.occlusion(run, IMAGES, [1, 0, 0, 0], size=4, stride=4)
    before = run.predict(IMAGES)[0, 1]
    for rows in (slice(0, 4), slice(4, 8)):
        covered = IMAGES.copy()
        covered[0, rows, 4:] = 128
        expected = before - run.predict(covered)[0, 1]
        np.testing.assert_allclose(found[0, rows, 4:], expected, atol=1e-6)


def test_squares_reach_the_border_and_pixels_have_the_mean_of_theirs():
    boxes = occlusion.squares((5, 4), 4, 3)
    assert [(rows.start, columns.start) for rows, columns in boxes] == [(0, 0), (1, 0)]
    np.testing.assert_array_equal(
        occlusion.means((5, 4), boxes, np.array([1.0, 3.0]))[:, 0], [1, 2, 2, 2, 3]
    )


def test_a_square_larger_than_the_image_is_refused(run):
    with pytest.raises(UserError, match="a square of 9 pixels"):
        occlusion.occlusion(run, IMAGES, size=9)
