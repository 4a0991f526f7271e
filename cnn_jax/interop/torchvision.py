"""Converts weights of torchvision's (and timm's) networks to Flax variables, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import numpy as np

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.interop import adapted, formats, recognize, translate
from cnn_jax.interop.sources import families, names_vgg, torch_sources

names = torch_sources.networks
_table = torch_sources.table


def options(name: str) -> dict[str, Any]:
    """The arguments of `models.create` for torchvision's network, with the family as "name"."""
    return dict(torch_sources.family_of(name).NETWORKS[name])


def module(name: str, num_classes: int = 1000, **changes: Any) -> nn.Module:
    """Our network for torchvision's name, such as "resnet50"; `changes` override its options.

    timm's networks with these names are the same. Raises `UserError` for an unknown name.
    """
    return models.create(num_classes=num_classes, **options(name) | changes)


def to_flax(name: str, state_dict: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Converts a state dict of torchvision or timm to variables {"params", "batch_stats"} (NumPy).

    They belong to `module(name, num_classes, **changes)` with the number of classes of the state
    dict; a state dict without auxiliary heads gives variables without them. Raises `UserError` that
    names keys that are missing or unknown, or have the wrong shape.
    """
    state = formats.unwrapped({key: np.asarray(value) for key, value in state_dict.items()})
    table, given = _table(name), _given(name, changes)
    if name in names_vgg.NETWORKS and "head.fc.weight" in state:
        table = torch_sources.timm_vgg(name)
    try:
        flat = translate.fitted(table, given, translate.to_ours(table, state))
        if translate.number_of_classes(flat) is None:
            raise UserError(f"they have no classifier, {name}'s last layer")
    except families.Unfit as unfit:
        raise _refused(name, state, unfit) from None
    is_stacked = not given.get("unroll", False)
    return flax.traverse_util.unflatten_dict(adapted.rolled(flat) if is_stacked else flat)


def to_torch(name: str, variables: Mapping[str, Any], **changes: Any) -> dict[str, np.ndarray]:
    """Converts variables of `module(name)` to a state dict (NumPy arrays by torchvision's keys).

    `changes` are options of that module, as in `to_flax`. Raises `UserError` that names arrays that
    are missing, unknown or of another shape.
    """
    try:
        return translate.to_theirs(_table(name), _given(name, changes), variables)
    except families.Unfit as unfit:
        raise UserError(f"these are not variables of {name}: {unfit}") from None


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the state dict of a file of any format in `formats`, without PyTorch."""
    return formats.by_name(Path(path))


def layer_names(name: str) -> dict[str, str]:
    """Maps the path of each layer, of long stages too, to its prefix in Torch."""
    return {ours: theirs for theirs, ours in _table(name).names.items()}


def _given(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The options of our network, without its family."""
    return {key: value for key, value in (options(name) | changes).items() if key != "name"}


def _refused(name: str, state: Mapping[str, np.ndarray], unfit: families.Unfit) -> UserError:
    """Why a state dict is not of a network, and of which it is."""
    try:
        found = recognize.trained(state)
    except UserError:
        return UserError(f"these are not weights of {name}: {unfit}")
    theirs = f"{found.source}'s {recognize.named(found.model)}"
    return UserError(f"these are weights of {theirs}, not of {name}: {unfit}")
