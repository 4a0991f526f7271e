"""Every layer of the residual networks has its name in torchvision."""

import pytest

from cnn_jax.interop import torchvision, translate
from cnn_jax.interop.sources import names_resnet


# Others differ in the number of units and of channels; test_torchvision.py has all of them.
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_every_layer_has_a_torchvision_name_of_its_own(name):
    given = {k: v for k, v in torchvision.options(name).items() if k != "name"}
    shapes = translate.expected_shapes("resnet", 1000, tuple(sorted(given.items())), (64, 64, 3))
    layers = {"/".join(path[1:-1]) for path in shapes}
    names = torchvision.layer_names(name)
    assert layers <= names.keys()
    assert len({names[layer] for layer in layers}) == len(layers)


def test_torchvision_names_of_some_layers():
    names = names_resnet.torch_names(torchvision.module("resnet101"))
    assert names["conv1"] == "conv1"
    assert names["bn1"] == "bn1"
    assert names["conv2/block1/shortcut"] == "layer1.0.downsample.0"
    assert names["conv2/block1/shortcut_bn"] == "layer1.0.downsample.1"
    assert names["conv5/block3/bn3"] == "layer4.2.bn3"
    assert names["conv4/block23/conv2"] == "layer3.22.conv2"
    assert names["fc"] == "fc"
