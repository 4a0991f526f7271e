"""Converts weights of torchvision's (and timm's) networks to Flax variables, and back.

Both have the same arrays, with axes in another order: Flax's kernels are [height, width, in, out]
and Torch's [out, in, height, width]; in linear layers they are [in, out] and [out, in]. A linear
layer behind a flattened map also has its inputs in another order.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import numpy as np

from cnn_jax import errors, models
from cnn_jax.errors import UserError
from cnn_jax.interop import formats
from cnn_jax.interop.sources import (
    names_alexnet,
    names_googlenet,
    names_inception_v3,
    names_resnet,
    names_squeezenet,
    names_vgg,
)
from cnn_jax.models.cpu.xla import eval_shape

FAMILIES = (
    names_alexnet,
    names_googlenet,
    names_inception_v3,
    names_resnet,
    names_squeezenet,
    names_vgg,
)
BATCH_NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
# timm's VGG has convolutions on the last map, with these names, in place of linear layers.
TIMM_VGG = {
    "classifier.0": "pre_logits.fc1",
    "classifier.3": "pre_logits.fc2",
    "classifier.6": "head.fc",
}


class Entry(NamedTuple):
    """One array in Flax and in Torch."""

    path: tuple[str, ...]  # in Flax: ("params", "conv2", "block1", "conv1", "kernel")
    index: int | None  # in the stack of a scanned stage
    key: str  # in Torch: "layer1.0.conv1.weight"
    shape: tuple[int, ...]  # in Flax, without the axis of the stack
    flattened: tuple[int, int, int] | None  # shape [C, H, W] of the map before a linear layer

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """The shape of the array in Torch."""
        return self.to_torch(np.empty(self.shape, np.bool_)).shape

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Changes Flax's order of axes to Torch's."""
        if self.path[-1] != "kernel":
            return array
        if array.ndim == 4:
            return array.transpose(3, 2, 0, 1)
        if self.flattened:
            c, h, w = self.flattened
            array = array.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(array.shape)
        return array.T

    def to_flax(self, array: np.ndarray) -> np.ndarray:
        """Changes Torch's order of axes to Flax's."""
        if self.path[-1] != "kernel":
            return array
        if array.ndim == 4:
            return array.transpose(2, 3, 1, 0)
        array = array.T
        if self.flattened:
            c, h, w = self.flattened
            array = array.reshape(c, h, w, -1).transpose(1, 2, 0, 3).reshape(array.shape)
        return array


def names() -> list[str]:
    """torchvision's names of all networks that we have."""
    return sorted(name for family in FAMILIES for name in family.NETWORKS)


def options(name: str) -> dict[str, Any]:
    """The arguments of `models.create` for torchvision's network, with the family as "name"."""
    return dict(_family(name).NETWORKS[name])


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
    state = as_torchvision(state_dict)
    return for_module(name, module(name, number_of_classes(state), **changes), state)


def name_of(model: nn.Module) -> str:
    """torchvision's name that is closest to `model`; raises `UserError` without its family."""

    def difference(name):
        own = [getattr(model, k) == value for k, value in options(name).items() if k != "name"]
        return own.count(False) - own.count(True)

    known = [name for name in names() if isinstance(model, models.family(options(name)["name"]))]
    if not known:
        what = type(model).__name__
        raise UserError(f"torchvision has no {what}: its weights are Flax variables")
    return min(known, key=difference)


def for_module(name: str, model: nn.Module, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """`to_flax` for a given network `model` of the family of `name`."""
    state = as_torchvision(state_dict)
    entries = _entries(name, model)
    if not any(key.lower().startswith("aux") for key in state):
        entries = [entry for entry in entries if not entry.key.lower().startswith("aux")]
    _check(name, state, entries)
    flat: dict[tuple[str, ...], Any] = {}
    for entry in entries:
        array = np.ascontiguousarray(entry.to_flax(state[entry.key]))
        if entry.index is None:
            flat[entry.path] = array
        else:
            flat.setdefault(entry.path, []).append(array)
    stacked = {path: np.stack(a) if isinstance(a, list) else a for path, a in flat.items()}
    return flax.traverse_util.unflatten_dict(stacked)


def to_torch(name: str, variables: Mapping[str, Any], **changes: Any) -> dict[str, np.ndarray]:
    """Converts variables of `module(name)` to a state dict (NumPy arrays by torchvision's keys).

    `changes` are options of that module, as in `to_flax`. Raises `UserError` that names arrays that
    are missing, unknown or of another shape.
    """
    flat = flax.traverse_util.flatten_dict(jax.tree.map(np.asarray, dict(variables)))
    entries = _entries(name, module(name, _classes(flat), **changes))
    if not any("aux" in part.lower() for path in flat for part in path):
        entries = [entry for entry in entries if not entry.key.lower().startswith("aux")]
    unknown = set(flat) - {entry.path for entry in entries}
    missing = {entry.path for entry in entries} - set(flat)
    if unknown or missing:
        raise UserError(
            f"these are not variables of {name}: {_some('missing', map('/'.join, missing))}"
            f"{_some('unknown', map('/'.join, unknown))}"
        )
    state = {}
    for entry in entries:
        array = flat[entry.path] if entry.index is None else flat[entry.path][entry.index]
        if array.shape != entry.shape:
            raise UserError(f"{'/'.join(entry.path)} of {name} is {entry.shape}, not {array.shape}")
        state[entry.key] = np.ascontiguousarray(entry.to_torch(array))
        if entry.key.endswith(".running_var"):
            state[entry.key.replace("running_var", "num_batches_tracked")] = np.int64(0)
    return state


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the state dict of a file of any format in `formats`, without PyTorch."""
    return formats.by_name(Path(path))


def layer_names(name: str, model: nn.Module) -> dict[str, str | list[str]]:
    """Maps each layer's path to its prefix in Torch; to a list of them for a scanned stage."""
    return _family(name).torch_names(model)


def _family(name: str) -> Any:
    for family in FAMILIES:
        if name in family.NETWORKS:
            return family
    raise errors.unknown("torchvision network", name, names())


@functools.lru_cache(maxsize=2)  # for the way back
def _entries(name: str, model: nn.Module) -> list[Entry]:
    family = _family(name)
    flattened = dict([family.flatten_shape(model)]) if hasattr(family, "flatten_shape") else {}
    side = getattr(family, "INPUT_SIZE", 224)
    image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    shapes = flax.traverse_util.flatten_dict(eval_shape(model.init, jax.random.key(0), image))
    prefixes = family.torch_names(model)
    entries = []
    for path, leaf in shapes.items():
        layer = "/".join(path[1:-1])
        is_norm = ("batch_stats", *path[1:-1], "mean") in shapes
        kind = BATCH_NORM[path[-1]] if is_norm else {"kernel": "weight"}.get(path[-1], path[-1])
        if layer not in prefixes:
            raise UserError(f"torchvision's {name} has no layer {layer}: change config.model")
        found = prefixes[layer]
        if isinstance(found, str):
            entries.append(Entry(path, None, f"{found}.{kind}", leaf.shape, flattened.get(layer)))
        else:
            entries += [
                Entry(path, i, f"{prefix}.{kind}", leaf.shape[1:], None)
                for i, prefix in enumerate(found)
            ]
    return entries


def number_of_classes(state: Mapping[str, Any]) -> int:
    """The number of rows of the last layer in a state dict."""
    head = next((key for key in formats.HEADS if key in state), None)
    return len(state[head]) if head and np.ndim(state[head]) else 1000


def as_torchvision(state_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """NumPy arrays by torchvision's keys; timm's keys, and those of wrappers, are renamed."""
    state = formats.unwrapped({key: np.asarray(value) for key, value in state_dict.items()})
    if "pre_logits.fc1.weight" not in state:
        return state
    renamed = {}
    for key, value in state.items():
        prefix, _, kind = key.rpartition(".")
        known = {timm: torchvision for torchvision, timm in TIMM_VGG.items()}.get(prefix)
        if known and value.ndim == 4:
            value = value.reshape(len(value), -1)
        renamed[f"{known}.{kind}" if known else key] = value
    return renamed


def _classes(flat: Mapping[tuple[str, ...], np.ndarray]) -> int:
    """The number of classes in flat variables: the size of the last bias."""
    for head in ("fc", "linear", "fc8", "conv10"):
        if ("params", head, "bias") in flat:
            return len(flat["params", head, "bias"])
    return 1000


def name_of_state(state: Mapping[str, np.ndarray], likely: str) -> str | None:
    """torchvision's name of the network whose weights these are, as far as shapes tell it.

    The networks of the family of `likely` are tried first: each takes about a second.
    """
    layers = {key.rpartition(".")[0] for key in state}
    for name in sorted(names(), key=lambda name: name not in _family(likely).NETWORKS):
        model = module(name, number_of_classes(state))
        prefixes = [[p] if isinstance(p, str) else p for p in layer_names(name, model).values()]
        own = {prefix for several in prefixes for prefix in several}
        if {p for p in own if not p.lower().startswith("aux")} <= layers <= own:
            entries = _entries(name, model)
            shapes = {entry.key: entry.torch_shape for entry in entries if entry.key in state}
            if all(state[key].shape == shape for key, shape in shapes.items()):
                return name
    return None


def _check(name: str, state: Mapping[str, np.ndarray], entries: list[Entry]) -> None:
    expected = {entry.key: entry.torch_shape for entry in entries}
    missing = set(expected) - set(state)
    unknown = {key for key in set(state) - set(expected) if not key.endswith("num_batches_tracked")}
    wrong = [
        f"{key} {list(state[key].shape)}, not {list(shape)}"
        for key, shape in expected.items()
        if key in state and state[key].shape != shape
    ]
    if not (missing or unknown or wrong):
        return
    heads = tuple(head.removesuffix("weight") for head in formats.HEADS)
    if not (unknown or wrong) and all(key.startswith(heads) for key in missing):
        raise UserError(f"they have no classifier, {name}'s {' and '.join(sorted(missing))}")
    if (fitting := name_of_state(state, name)) not in (None, name):
        own = options(name)
        other = ", ".join(f"{k}={v}" for k, v in options(fitting).items() if own.get(k) != v)
        raise UserError(f"these are weights of {fitting} ({other}), not of {name}")
    raise UserError(
        f"these are not weights of {name}: {_some('missing', missing)}"
        f"{_some('unknown', unknown)}{_some('of another shape', wrong)}"
    )


def _some(what: str, found: Any) -> str:
    """Lists the first four, and says how many more there are."""
    found = sorted(found)
    if not found:
        return ""
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return f"{what}: {', '.join(found[:4])}{more}. "
