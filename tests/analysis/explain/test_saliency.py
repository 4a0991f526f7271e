"""Saliency is the gradient to the pixels."""

import jax
import numpy as np
import pytest

from cnn_jax.analysis.explain import saliency
from tests.analysis.explain.making import IMAGES, SmallRun, axes, small_run


@pytest.fixture(scope="module")
def run():
    return small_run()


def gradient(run, images, labels):
    """Of the logits of the labels, by JAX's own way."""

    def objective(pixels):
        x = (pixels - 128) / 64
        logits = run.model.apply(run.variables(), x)
        return sum(logits[i, label] for i, label in enumerate(labels))

    return np.asarray(jax.jit(jax.grad(objective))(images.astype(np.float32)))


def test_saliency_is_the_largest_absolute_derivative_of_a_pixel(run):
    expected = np.abs(gradient(run, IMAGES, [0, 1, 2, 0])).max(-1)
    found = saliency.saliency(run, IMAGES, [0, 1, 2, 0])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_smooth_grad_without_noise_is_saliency(run):
    plain = saliency.saliency(run, IMAGES)[:1]
    likeliest = run.logits(IMAGES).argmax(1)[:1]
    smooth, *noisy = (
        saliency.smooth_grad(run, IMAGES[:1], likeliest, samples=4, noise=noise)
        for noise in (0.0, 0.15, 0.15)
    )
    np.testing.assert_allclose(smooth, plain, rtol=1e-4)
    assert (noisy[0] != smooth).any()
    np.testing.assert_array_equal(*noisy)


def test_guided_backprop_sees_positive_weights_of_the_classifier_alone(run):
    positive = SmallRun()
    kernel = positive.variables()["params"]["fc"]["kernel"]
    kernel[:] = np.maximum(kernel, 0)
    found = saliency.guided_backprop(run, IMAGES, [0] * 4)
    np.testing.assert_allclose(found, gradient(positive, IMAGES, [0] * 4), rtol=1e-4, atol=1e-7)


def test_what_has_both_signs_is_gray_where_it_is_zero():
    values = np.zeros((2, 2, 3))
    values[0, 0], values[1, 1] = 1, -1
    (image,) = saliency.draw_guided(axes(), values).images
    np.testing.assert_allclose(image.get_array()[..., 0], [[1, 0.5], [0.5, 0]])
