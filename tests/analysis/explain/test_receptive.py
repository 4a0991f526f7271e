"""What units can see and what they do see of the images of a run."""

import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.analysis.explain import receptive
from cnn_jax.analysis.explain.receptive import Field
from cnn_jax.errors import UserError
from tests.analysis.explain.making import IMAGES, axes, small_run


@pytest.fixture(scope="module")
def run():
    return small_run()


def test_fields_have_size_and_stride_and_none_after_the_mean(run):
    found = receptive.theoretical(run.model, layers=["conv1", "fc"])
    assert found == [Field("conv1", 3, 3, 2), Field("fc", None, None, None)]
    lenet = models.create("lenet", num_classes=10)
    assert receptive.theoretical(lenet, 1, "conv*") == [
        Field("conv1", 5, 5, 1),
        Field("conv2", 14, 14, 2),
    ]


def test_the_measured_field_of_random_weights_fills_the_theoretical_one(run):
    gradient = receptive.measured(run, IMAGES, "bn1/relu")
    box = receptive.in_image(run, "bn1/relu", (8, 8, 3))
    assert box == receptive.support(gradient) == (slice(3, 6), slice(3, 6))


def test_a_layer_that_sees_everything_has_no_field_to_measure(run):
    with pytest.raises(UserError, match="fc is no map"):
        receptive.measured(run, IMAGES, "fc")


def test_the_theoretical_field_is_drawn_as_a_frame():
    box = (slice(3, 6), slice(2, 6))
    (frame,) = receptive.draw(axes(), IMAGES[0], np.eye(8), box).patches
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((1.5, 2.5), 4, 3)
