"""The standard deviations of layer responses are those of a direct computation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.analysis import responses
from cnn_jax.errors import UserError
from cnn_jax.models import residual_units

IMAGES = np.random.default_rng(0).normal(1, 2, (6, 8, 8, 3)).astype(np.float32)


def variables_of(model):
    """Random ones, positive in batch norms."""
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IMAGES[:1])
    return jax.tree.map(lambda x: random.uniform(0.5, 1, x.shape).astype(np.float32), dict(shapes))


def test_a_response_is_the_output_of_the_batch_norm_after_a_3x3_convolution():
    model = models.create("cifar_resnet", num_classes=3, depth=8)
    variables = variables_of(model)
    found = responses.std_by_layer(model, variables, [IMAGES[:3], IMAGES[3:]])
    blocks = [f"{stage}/block1/conv{i}" for stage in ("conv2", "conv3", "conv4") for i in (1, 2)]
    assert list(found) == ["conv1", *blocks]
    params, statistics = variables["params"], variables["batch_stats"]
    y = jax.lax.conv_general_dilated(
        jnp.asarray(IMAGES), params["conv1"]["kernel"], (1, 1), ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    norm, own = params["bn1"], statistics["bn1"]
    y = (y - own["mean"]) / np.sqrt(own["var"] + 1e-5) * norm["scale"] + norm["bias"]
    assert found["conv1"] == pytest.approx(float(y.std()), rel=1e-4)


def test_the_layers_of_a_scanned_stage_are_told_apart():
    scanned = models.create("cifar_resnet", num_classes=3, depth=56)
    variables = variables_of(scanned)
    flat = residual_units.unrolled(variables)
    expected = jax.eval_shape(scanned.clone(unroll=True).init, jax.random.key(0), IMAGES[:1])
    assert jax.tree.map(np.shape, flat) == jax.tree.map(np.shape, dict(expected))
    stacked = variables["params"]["conv2"]["blocks"]["conv1"]["kernel"]
    np.testing.assert_array_equal(flat["params"]["conv2"]["block9"]["conv1"]["kernel"], stacked[7])


def test_networks_without_such_layers_are_refused_in_one_line():
    model = models.create("lenet", num_classes=3, variant="300-100")
    images = IMAGES[..., :1]
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    with pytest.raises(UserError, match="no batch norm after a 3x3 convolution"):
        responses.std_by_layer(model, variables, [images])
