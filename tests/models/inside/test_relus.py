"""ReLUs are found wherever they stand, and can be replaced."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax.models.inside import relus

X = jnp.array([-2.0, 3.0, 1.0])


def test_the_rule_takes_the_place_of_every_relu_under_jit_too():
    def function(x):
        return {"a": nn.relu(x), "b": jax.jit(lambda x: 2 * nn.relu(x))(x)}

    changed = relus.with_relus(function, lambda x, name: x + 10)
    np.testing.assert_array_equal(changed(X)["a"], X + 10)
    np.testing.assert_array_equal(changed(X)["b"], 2 * (X + 10))


def test_other_functions_stay_as_they_are():
    def function(x, y):
        return nn.sigmoid(x) + jnp.maximum(y, 0) + nn.relu6(x)

    changed = relus.with_relus(function, lambda x, name: x * 0)
    np.testing.assert_array_equal(changed(X, -X), function(X, -X))


def test_a_guided_relu_passes_positive_gradients_at_positive_inputs_alone():
    x, dy = jnp.array([1.0, 1.0, -1.0, -1.0]), jnp.array([2.0, -2.0, 2.0, -2.0])
    y, back = jax.vjp(relus.guided_relu, x)
    np.testing.assert_array_equal(y, [1, 1, 0, 0])
    np.testing.assert_array_equal(back(dy)[0], [2, 0, 0, 0])
