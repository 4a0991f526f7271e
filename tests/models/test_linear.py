"""Fully convolutional: the linear layers of VGG and AlexNet at every place of the map."""

import jax
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.linear import MapLinear, linear
from cnn_jax.training import compiler
from tests.models.networks import filled

SMALL = {"num_classes": 5, "fc_width": 8}


@pytest.mark.parametrize(
    "name,options,side,larger",
    [("vgg", {"depth": 11}, 224, (224, 256)), ("alexnet", {}, 227, (259, 227))],
)
def test_the_same_variables_give_the_same_logits_and_take_larger_images(
    name, options, side, larger
):
    plain = models.create(name, **SMALL, **options)
    dense = models.create(name, **SMALL, **options, fully_convolutional=True)
    images = jax.random.normal(jax.random.key(0), (1, side, side, 3))
    shapes = [eval_shape(model.init, jax.random.key(1), images) for model in (plain, dense)]
    assert jax.tree.map(np.shape, shapes[0]) == jax.tree.map(np.shape, shapes[1])
    variables, _ = filled(plain, side)
    variables = jax.tree.map(  # with biases, which are 0 there
        lambda leaf: leaf if leaf.ndim > 1 else np.linspace(-1, 1, leaf.size, dtype=np.float32),
        variables,
    )
    expected, found = compiler.jit(lambda v, x: (plain.apply(v, x), dense.apply(v, x)), once=True)(
        variables, images
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * scale)
    shape = jax.ShapeDtypeStruct((1, *larger, 3), np.float32)
    assert eval_shape(dense.apply, variables, shape).shape == (1, 5)
    small = jax.ShapeDtypeStruct((1, side - 40, side - 40, 3), np.float32)
    with pytest.raises(UserError, match="fully convolutional: fc6 needs a map of"):
        eval_shape(dense.apply, variables, small)


def test_it_is_the_linear_layer_of_every_window():
    module = MapLinear(4, 3, jax.nn.initializers.normal(1.0))
    maps = jax.random.normal(jax.random.key(0), (2, 5, 6, 2))
    variables = module.init(jax.random.key(1), maps)
    found = module.apply(variables, maps)
    assert found.shape == (2, 3, 4, 4)
    plain = linear(False, 3, 4)
    for y in range(3):
        for x in range(4):
            window = maps[:, y : y + 3, x : x + 3].reshape(2, -1)
            np.testing.assert_allclose(
                found[:, y, x], plain.apply(variables, window), rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("name,size", [("vgg", 256), ("alexnet", 259)])
def test_logits_are_the_mean_over_all_places_and_not_over_images(name, size):
    model = models.create(name, **SMALL, fully_convolutional=True)
    images = jax.ShapeDtypeStruct((3, size, size, 3), np.float32)
    logits, _ = eval_shape(lambda x: model.init_with_output(jax.random.key(0), x), images)
    assert logits.shape == (3, 5)
