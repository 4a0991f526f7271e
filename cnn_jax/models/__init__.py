"""The networks, one file per paper: `create(name, num_classes=..., **options)` gives a Linen module."""

import dataclasses
from typing import Any

import flax.linen as nn

from cnn_jax import errors
from cnn_jax.models.cifar_resnet import CifarResNet
from cnn_jax.models.resnet import ResNet
from cnn_jax.models.wide_resnet import WideResNet

FAMILIES = {"cifar_resnet": CifarResNet, "resnet": ResNet, "wide_resnet": WideResNet}


def names() -> list[str]:
    """The families that `create` knows."""
    return sorted(FAMILIES)


def options(name: str) -> dict[str, Any]:
    """The options of a family with their defaults."""
    if name not in FAMILIES:
        raise errors.unknown("network", name, names())
    hidden = {"num_classes", "parent", "name"}
    return {f.name: f.default for f in dataclasses.fields(FAMILIES[name]) if f.name not in hidden}


def create(name: str, *, num_classes: int, **settings: Any) -> nn.Module:
    """A network: `model.apply(variables, images, train=False)`, images [B, H, W, C] -> [B, classes].

    Raises `UserError` for a family or an option that does not exist, with the list of right ones, and
    for a value that the network cannot take.
    """
    known = options(name)
    for setting in settings:
        if setting not in known:
            raise errors.unknown(f"option of {name}", setting, known)
    return FAMILIES[name](num_classes=num_classes, **settings)
