"""The networks, one file per paper: `create(name, num_classes=..., **options)` makes one."""

import dataclasses
import typing
from typing import Any

import flax.linen as nn

from cnn_jax import errors
from cnn_jax.models.alexnet import AlexNet
from cnn_jax.models.bn_inception import BNInception
from cnn_jax.models.cifar_resnet import CifarResNet
from cnn_jax.models.googlenet import GoogLeNet
from cnn_jax.models.inception_v3 import InceptionV3
from cnn_jax.models.lenet import LeNet
from cnn_jax.models.resnet import ResNet
from cnn_jax.models.squeezenet import SqueezeNet
from cnn_jax.models.vgg import VGG
from cnn_jax.models.wide_resnet import WideResNet

FAMILIES = {
    "alexnet": AlexNet,
    "bn_inception": BNInception,
    "cifar_resnet": CifarResNet,
    "googlenet": GoogLeNet,
    "inception_v3": InceptionV3,
    "lenet": LeNet,
    "resnet": ResNet,
    "squeezenet": SqueezeNet,
    "vgg": VGG,
    "wide_resnet": WideResNet,
}


def names() -> list[str]:
    """The families that `create` knows."""
    return sorted(FAMILIES)


def options(name: str) -> dict[str, Any]:
    """The options of a family with their defaults."""
    if name not in FAMILIES:
        raise errors.unknown("network", name, names())
    hidden = {"num_classes", "parent", "name"}
    return {f.name: f.default for f in dataclasses.fields(FAMILIES[name]) if f.name not in hidden}


def option_types(name: str) -> dict[str, type]:
    """The type of each option; of one that may be None, the other type."""
    known = options(name)
    hints = typing.get_type_hints(FAMILIES[name])
    kinds = {option: typing.get_args(hints[option]) or (hints[option],) for option in known}
    return {option: kind[0] for option, kind in kinds.items()}


def create(name: str, *, num_classes: int, **settings: Any) -> nn.Module:
    """A network: `model.apply(variables, images, train=False)`, [B, H, W, C] -> [B, classes].

    Raises `UserError` for a family or an option that does not exist, with the list of right ones,
    and for a value that the network cannot take.
    """
    known = options(name)
    for setting in settings:
        if setting not in known:
            raise errors.unknown(f"option of {name}", setting, known)
    return FAMILIES[name](num_classes=num_classes, **settings)
