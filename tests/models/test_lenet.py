"""LeNet-300-100 and LeNet-5 are those of Caffe and of Han et al."""

import functools

import flax.linen as nn
import numpy as np
import pytest

from cnn_jax import errors, models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.models import layers
from cnn_jax.training import compiler
from experiments import published
from experiments.deep_compression.published import LENETS

GRAY = (28, 28, 1)


@pytest.mark.parametrize("variant", LENETS)
def test_parameters_are_those_of_the_papers_tables(variant):
    found = layers_of(models.create("lenet", num_classes=10, variant=variant), GRAY)
    count = sum(layer.parameters for layer in found)
    assert count == LENETS[variant]["parameters"]
    assert abs(count - LENETS[variant]["printed"]) < 1000
    values = [s.value for s in published.find({"name": "lenet", "variant": variant}, 10, 28)]
    assert values == [LENETS[variant]["printed"], count]


def test_lenet_5_has_the_shapes_of_caffes():
    found = layers_of(models.create("lenet", num_classes=10), GRAY)
    assert {layer.name: layer.output_shape for layer in found} == {
        "conv1": (24, 24, 20),
        "conv2": (8, 8, 50),
        "ip1": (500,),
        "ip2": (10,),
    }


def test_other_images_have_other_parameters_and_no_published_size():
    assert published.find({"name": "lenet", "variant": "5"}, 10, 32) == []


def test_convolutions_of_lenet_5_have_no_relu():
    model = models.create("lenet", num_classes=10)
    generator = np.random.default_rng(0)
    images = np.abs(generator.standard_normal((1, *GRAY), np.float32))
    # ip1 sees what the pooling gives: with kernels of -1 and biases of 0 a ReLU would leave 0.
    params = {
        "conv1": {"kernel": np.ones((5, 5, 1, 20)), "bias": np.zeros(20)},
        "conv2": {"kernel": -np.ones((5, 5, 20, 50)), "bias": np.zeros(50)},
        "ip1": {"kernel": generator.standard_normal((800, 500)), "bias": np.zeros(500)},
        "ip2": {"kernel": np.zeros((500, 10)), "bias": np.zeros(10)},
    }

    @functools.partial(compiler.jit, once=True)
    def ip1(images):
        seen = model.apply({"params": params}, images, capture_intermediates=True)[1]
        return seen["intermediates"]["ip1"]["__call__"][0]

    assert not np.allclose(ip1(images), ip1(0 * images))


@pytest.mark.parametrize("variant", LENETS)
def test_every_layer_starts_by_caffes_xavier(variant):
    found = []

    def note(call, arguments, keywords, context):
        if isinstance(context.module, nn.Conv | nn.Dense):
            found.append(context.module.kernel_init)
        return call(*arguments, **keywords)

    with nn.intercept_methods(note):
        layers_of(models.create("lenet", num_classes=10, variant=variant), GRAY)
    assert set(found) == {layers.caffe_xavier}


def test_wrong_variants_and_small_images_are_told():
    with pytest.raises(errors.UserError, match="did you mean '300-100'"):
        models.create("lenet", num_classes=10, variant="300-10")
    with pytest.raises(errors.UserError, match="the smallest are 16x16"):
        layers_of(models.create("lenet", num_classes=10), (12, 12, 1))
