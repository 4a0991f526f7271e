"""The families by name, and networks of other projects beside them."""

import flax.linen as nn
import pytest

from cnn_jax import models
from cnn_jax.errors import UserError


class Linear(nn.Module):
    """Another project's network."""

    num_classes: int
    bias: bool = True

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(self.num_classes, use_bias=self.bias)(images.reshape(len(images), -1))


@pytest.mark.parametrize("name", models.names())
def test_each_family_is_a_class_with_a_number_of_classes(name):
    assert "num_classes" in models.family(name).__dataclass_fields__


def test_another_project_adds_a_network_of_its_own(monkeypatch):
    monkeypatch.setitem(models.FAMILIES, "linear", Linear)
    assert models.create("linear", num_classes=3, bias=False) == Linear(3, bias=False)
    with pytest.raises(UserError, match="unknown option of linear 'depth'; choose from: bias"):
        models.create("linear", num_classes=3, depth=2)


def test_an_unknown_family_names_the_closest_and_all():
    with pytest.raises(UserError, match="unknown network 'resnett' .did you mean 'resnet'"):
        models.create("resnett", num_classes=3)


def test_options_that_may_be_none_are_these():
    found = {name: models.optional(name) for name in models.names()}
    assert {name: options for name, options in found.items() if options} == {
        "bn_inception": {"bn_group_size"},
        "cifar_resnet": {"shortcut", "bn_group_size"},
        **{name: {"bn_group_size"} for name in ("googlenet", "inception_v3", "resnet", "vgg")},
        "wide_resnet": {"bn_group_size"},
    }
