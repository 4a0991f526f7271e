"""The networks, one file per paper: `create(name, num_classes=..., **options)` makes one."""

import dataclasses
import importlib
import typing
from typing import TYPE_CHECKING, Any

from cnn_jax import errors

if TYPE_CHECKING:
    import flax.linen as nn

# The class of each family, in the module of the family's name; another project may add its own
# class itself: `FAMILIES["its_network"] = ItsNetwork`.
FAMILIES: "dict[str, str | type[nn.Module]]" = {
    "alexnet": "AlexNet",
    "bn_inception": "BNInception",
    "cifar_resnet": "CifarResNet",
    "googlenet": "GoogLeNet",
    "inception_v3": "InceptionV3",
    "lenet": "LeNet",
    "resnet": "ResNet",
    "squeezenet": "SqueezeNet",
    "vgg": "VGG",
    "wide_resnet": "WideResNet",
}


def names() -> list[str]:
    """The families that `create` knows."""
    return sorted(FAMILIES)


def family(name: str) -> "type[nn.Module]":
    """The class of a family; raises `UserError` for an unknown one, with the list of all."""
    if name not in FAMILIES:
        raise errors.unknown("network", name, names())
    found = FAMILIES[name]
    if isinstance(found, str):
        found = getattr(importlib.import_module(f"cnn_jax.models.{name}"), found)
    return found


def options(name: str) -> dict[str, Any]:
    """The options of a family with their defaults."""
    hidden = {"num_classes", "parent", "name"}
    return {f.name: f.default for f in dataclasses.fields(family(name)) if f.name not in hidden}


def option_types(name: str) -> dict[str, type]:
    """The type of each option; of one that may be None, the other type."""
    known = options(name)
    hints = typing.get_type_hints(family(name))
    kinds = {option: typing.get_args(hints[option]) or (hints[option],) for option in known}
    return {option: kind[0] for option, kind in kinds.items()}


def optional(name: str) -> set[str]:
    """The options of a family that may be None."""
    hints = typing.get_type_hints(family(name))
    return {option for option in options(name) if type(None) in typing.get_args(hints[option])}


def create(name: str, *, num_classes: int, **settings: Any) -> "nn.Module":
    """A network: `model.apply(variables, images, train=False)`, [B, H, W, C] -> [B, classes].

    Raises `UserError` for a family or an option that does not exist, with the list of right ones,
    and for a value that the network cannot take.
    """
    known = options(name)
    for setting in settings:
        if setting not in known:
            raise errors.unknown(f"option of {name}", setting, known)
    return family(name)(num_classes=num_classes, **settings)
