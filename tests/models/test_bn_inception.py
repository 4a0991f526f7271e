"""BN-Inception against its paper's table and a count of public ports."""

import jax
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.errors import UserError
from cnn_jax.models import bn_inception, layers
from cnn_jax.models.bn_inception import LAYOUTS
from cnn_jax.models.inception_blocks import smallest_input
from experiments.bn_inception import published
from tests.models.networks import filled, outputs_at, shapes_at

PORTED = {"layout": "printed", "separable_stem": False}


def test_every_row_of_the_table_has_its_output_size():
    found = outputs_at("bn_inception", 224)
    assert {name: found[name] for name in published.OUTPUTS} == published.OUTPUTS


def test_layout_as_printed_has_the_parameters_of_its_ports():
    found = layers_of(models.create("bn_inception", num_classes=1000, **PORTED), (224, 224, 3))
    biases = sum(layer.kernel_shape[-1] for layer in found if layer.kind == "Conv")
    assert biases == published.USELESS_BIASES
    assert sum(layer.parameters for layer in found) + biases == published.PORTED_PARAMETERS


def test_layout_as_printed_has_wider_maps_than_its_table_says():
    found = outputs_at("bn_inception", 224, layout="printed")
    assert [found[f"inception_{name}"][-1] for name in ("4c", "4d", "4e")] == [608, 608, 1056]


def test_separable_stem_is_a_convolution_of_each_color_and_one_of_their_channels():
    model = models.create("bn_inception", num_classes=2)
    variables, images = filled(model, 64)
    stem = variables["params"]["conv1_depthwise"]["kernel"]
    assert stem.shape == (7, 7, 1, 24)

    def output(variables, images):  # compiled without the layers behind it
        _, state = model.apply(variables, images, capture_intermediates=True, mutable=True)
        return state["intermediates"]["conv1_depthwise"]["__call__"][0]

    y = jax.jit(output)(variables, images)
    for color in range(3):
        ours = y[..., 8 * color : 8 * color + 8]
        kernel = stem[..., 8 * color : 8 * color + 8]
        alone = layers.convolve(images[..., color : color + 1], kernel, (2, 2), ((3, 3), (3, 3)))
        np.testing.assert_allclose(ours, alone, rtol=1e-4, atol=1e-4)


def test_smallest_image_is_taken_and_a_smaller_one_refused():
    smallest = smallest_input(LAYOUTS["released"])
    assert outputs_at("bn_inception", smallest)["fc"] == (10,)
    with pytest.raises(UserError, match="too small"):
        shapes_at("bn_inception", smallest - 1)


def test_unknown_layout_is_refused_with_the_right_ones():
    with pytest.raises(UserError, match="released"):
        models.create("bn_inception", num_classes=10, layout="table")


def test_batch_norm_has_gamma_and_no_convolution_a_bias():
    parameters = jax.tree.leaves_with_path(shapes_at("bn_inception", 64)[1]["params"])
    last = {"/".join(key.key for key in path[-2:]) for path, _ in parameters}
    assert last == {"conv/kernel", "conv1_depthwise/kernel", "bn/scale", "bn/bias"} | {
        "fc/kernel",
        "fc/bias",
    }


def test_a_row_of_the_table_has_its_branches_in_the_order_of_its_columns():
    assert bn_inception.module(1, 2, 3, 4, 5, "max + 6") == (
        ("1x1 1",),
        ("1x1 2", "3x3 3"),
        ("1x1 4", "3x3 5", "3x3 5"),
        ("max 3x3", "1x1 6"),
    )
    assert bn_inception.reduction(1, 2, 3, 4) == (
        ("1x1 1", "3x3/2 2"),
        ("1x1 3", "3x3 4", "3x3/2 4"),
        ("max 3x3/2",),
    )
