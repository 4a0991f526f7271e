"""Grad-CAM is the class activation map where one linear layer follows the mean of the maps."""

import numpy as np
import pytest

from cnn_jax.analysis.explain import gradcam
from cnn_jax.errors import UserError
from tests.analysis.explain.making import IMAGES, axes, small_run


@pytest.fixture(scope="module")
def run():
    return small_run()


def test_grad_cam_is_the_class_activation_map_of_zhou_et_al(run):
    maps, kernel = run.by_hand()
    found = gradcam.grad_cam(run, IMAGES, [2, 0, 1, 1])
    for i, label in enumerate([2, 0, 1, 1]):
        expected = np.maximum(maps[i] @ kernel[:, label] / 16, 0)
        np.testing.assert_allclose(found[i], expected, atol=1e-5)


def test_by_default_it_explains_the_likeliest_class(run):
    likeliest = run.predict(IMAGES).argmax(1)
    np.testing.assert_array_equal(
        gradcam.grad_cam(run, IMAGES), gradcam.grad_cam(run, IMAGES, likeliest)
    )


def test_grad_cam_plus_plus_weighs_each_place_by_its_equation_19():
    maps = np.random.default_rng(0).random((1, 2, 3, 2))
    gradients = np.random.default_rng(1).standard_normal((1, 2, 3, 2))
    expected = np.zeros(2)
    for k in range(2):
        total = maps[0, ..., k].sum()
        for g in gradients[0, ..., k].ravel():
            expected[k] += g**2 / (2 * g**2 + total * g**3) * max(g, 0)
    found = gradcam.weights_plus_plus(maps, gradients)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_guided_grad_cam_is_zero_where_grad_cam_is(run):
    heat = gradcam.pictures.resized(gradcam.grad_cam(run, IMAGES, layer="bn1/relu"), (8, 8))
    guided = gradcam.guided_grad_cam(run, IMAGES, layer="bn1/relu")
    assert guided.shape == IMAGES.shape
    assert (guided[heat == 0] == 0).all() and (guided[heat > 0] != 0).any()


def test_a_layer_without_places_is_refused(run):
    with pytest.raises(UserError, match="fc is no map: its result has 3 numbers"):
        gradcam.grad_cam(run, IMAGES, layer="fc")


def test_the_heat_is_drawn_over_the_whole_image(run):
    drawn = gradcam.draw(axes(), IMAGES[0], np.eye(2))
    assert [tuple(image.get_extent()) for image in drawn.images] == [(-0.5, 7.5, 7.5, -0.5)] * 2
