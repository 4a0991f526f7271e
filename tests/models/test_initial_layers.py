"""How the layers of each network start, and in which type they compute, without drawing any."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.layers import BatchNorm

# By name, of kernels [200, 100] as every kernel of a layer is drawn here.
HE_IN, HE_OUT = (2 / 200) ** 0.5, (2 / 100) ** 0.5
XAVIER, TORCH = (1 / 200) ** 0.5, (1 / 600) ** 0.5


@functools.cache
def deviation(init):
    return float(np.asarray(init(jax.random.key(0), (200, 100), jnp.float32)).std())


def layers_of(name, size, **options):
    """The convolutions, linear layers and batch norms of a network in bfloat16 by name."""
    found = {}

    def note(call, arguments, keywords, context):
        if (
            isinstance(context.module, nn.Conv | nn.Dense | BatchNorm)
            and context.method_name == "__call__"
        ):
            found["/".join(context.module.path)] = context.module
        return call(*arguments, **keywords)

    model = models.create(name, num_classes=10, dtype="bfloat16", **options)
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    with nn.intercept_methods(note):
        eval_shape(model.init, jax.random.key(0), image)
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
    kinds = [layer.kernel_init for layer in found.values() if isinstance(layer, nn.Conv)]
    starts = {deviation(init) for init in kinds}
    assert len(starts) == len(convolutions)
    np.testing.assert_allclose(sorted(starts), sorted(convolutions), rtol=0.02)
    assert deviation(classifier(found).kernel_init) == pytest.approx(last, rel=0.02)
    check_types(found)


def classifier(found):
    layers = {path: layer for path, layer in found.items() if not isinstance(layer, BatchNorm)}
    (last,) = [o for path, o in layers.items() if o.features == 10 and "auxiliary" not in path]
    return last


def check_types(found):
    """All layers but the last, and auxiliary heads, compute in bfloat16."""
    types = {path: layer.dtype for path, layer in found.items() if layer is not classifier(found)}
    assert {path for path, dtype in types.items() if dtype != "bfloat16"} <= {
        path for path in types if "auxiliary" in path
    }


@pytest.mark.parametrize(
    "name,size,options",
    [
        ("squeezenet", 40, {"small_input": True}),
        ("vgg", 32, {"depth": 11, "fc_width": 64, "batch_norm": True}),
        ("alexnet", 67, {"fc_width": 64}),
        ("googlenet", 31, {"auxiliary": False}),
    ],
)
def test_layers_compute_in_the_type_of_the_network(name, size, options):
    check_types(layers_of(name, size, **options))
