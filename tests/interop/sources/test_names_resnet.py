"""Every layer of the residual networks has its name in torchvision."""

import jax
import jax.numpy as jnp
import pytest
from flax.traverse_util import flatten_dict

from cnn_jax import models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.errors import UserError
from cnn_jax.interop import torchvision
from cnn_jax.interop.sources import names_resnet
from cnn_jax.models.cpu.xla import eval_shape


def names_of(model):
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params = eval_shape(model.init, jax.random.key(0), image)["params"]
    return {"/".join(path[:-1]) for path in flatten_dict(params)}


# Others differ in the number of units and of channels; test_torchvision.py has all of them.
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_every_layer_has_a_torchvision_name_of_its_own(name):
    module = torchvision.module(name)
    names = names_resnet.torch_names(module)
    prefixes = [p for v in names.values() for p in (v if isinstance(v, list) else [v])]
    assert set(names) == names_of(module)
    assert len(prefixes) == len(set(prefixes)) == len(layers_of(module, (32, 32, 3)))


def test_torchvision_names_of_some_layers():
    names = names_resnet.torch_names(torchvision.module("resnet101"))
    assert names["conv1"] == "conv1"
    assert names["bn1"] == "bn1"
    assert names["conv2/block1/shortcut"] == "layer1.0.downsample.0"
    assert names["conv2/block1/shortcut_bn"] == "layer1.0.downsample.1"
    assert names["conv5/block3/bn3"] == "layer4.2.bn3"
    assert names["conv4/blocks/conv2"] == [f"layer3.{i}.conv2" for i in range(1, 23)]
    assert names["fc"] == "fc"


@pytest.mark.parametrize(
    "options", [{"preactivation": True}, {"order": "BN after addition"}, {"shortcut_bn": False}]
)
def test_names_that_torchvision_does_not_have(options):
    with pytest.raises(UserError, match="no pre-activated ResNet"):
        names_resnet.torch_names(models.create("resnet", num_classes=10, **options))
