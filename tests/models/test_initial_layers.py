"""How the layers of each network start: by which fan or deviation, without drawing them all."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import models

# By name, of kernels [200, 100] as every kernel of a layer is drawn here.
HE_IN, HE_OUT = (2 / 200) ** 0.5, (2 / 100) ** 0.5
XAVIER, TORCH = (1 / 200) ** 0.5, (1 / 600) ** 0.5


@functools.cache
def deviation(init):
    return float(np.asarray(init(jax.random.key(0), (200, 100), jnp.float32)).std())


def layers_of(name, size, **options):
    """The convolutions and linear layers of a network by name."""
    found = {}

    def note(call, arguments, keywords, context):
        if isinstance(context.module, nn.Conv | nn.Dense) and context.method_name == "__call__":
            found["/".join(context.module.path)] = context.module
        return call(*arguments, **keywords)

    model = models.create(name, num_classes=10, **options)
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    with nn.intercept_methods(note):
        jax.eval_shape(model.init, jax.random.key(0), image)
    return found


# Network, size, options; the deviations of convolutions, and of the last layer.
STARTS = [
    ("cifar_resnet", 8, {"depth": 8}, {HE_IN}, HE_IN),
    ("cifar_resnet", 8, {"depth": 8, "shortcut": "B", "init_fan": "out"}, {HE_OUT}, TORCH),
    ("resnet", 32, {"depth": 18}, {HE_IN}, HE_IN),
    ("resnet", 32, {"depth": 18, "init_fan": "out"}, {HE_OUT}, TORCH),
    ("wide_resnet", 8, {"depth": 10, "width": 2}, {HE_IN}, TORCH),
    ("wide_resnet", 8, {"depth": 10, "width": 2, "init_fan": "out"}, {HE_OUT}, TORCH),
    ("bn_inception", 64, {}, {HE_IN}, 0.01),
    ("lenet", 28, {}, {XAVIER}, XAVIER),
]


@pytest.mark.parametrize("name,size,options,convolutions,last", STARTS)
def test_kernels_start_as_the_source_of_the_network_has_them(
    name, size, options, convolutions, last
):
    found = layers_of(name, size, **options)
    starts = {
        deviation(layer.kernel_init) for layer in found.values() if isinstance(layer, nn.Conv)
    }
    assert len(starts) == len(convolutions)
    np.testing.assert_allclose(sorted(starts), sorted(convolutions), rtol=0.02)
    (classifier,) = [
        layer for path, layer in found.items() if layer.features == 10 and "auxiliary" not in path
    ]
    assert deviation(classifier.kernel_init) == pytest.approx(last, rel=0.02)
