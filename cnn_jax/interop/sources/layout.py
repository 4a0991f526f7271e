"""What a table says of a source: its names of our layers, its axes, and what shapes do not tell."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Path = tuple[str, ...]  # of an array of ours: ("params", "conv2", "block1", "conv1", "kernel")

# What a source calls the arrays of a layer; a weight of a batch norm is its scale.
TORCH = {
    **{"weight": "kernel", "bias": "bias", "running_mean": "mean", "running_var": "var"},
    "num_batches_tracked": None,
}
KERAS = {
    **{"kernel": "kernel", "bias": "bias", "gamma": "scale", "beta": "bias"},
    **{"moving_mean": "mean", "moving_variance": "var"},
}
SLIM = {"weights": "kernel", "biases": "bias", **KERAS}
FLAX = {name: name for name in ("kernel", "bias", "scale", "mean", "var")}
FLAXMODELS = {"weight": "kernel", **FLAX}
MOST_UNITS = 36  # of a stage, in the networks for ImageNet


class Images(NamedTuple):
    """What weights expect of images: (x - mean) / std of values x from 0 to 1."""

    size: int  # height and width in pixels
    mean: tuple[float, ...]  # for each channel, in their order
    std: tuple[float, ...]
    channels: str = "rgb"  # their order, or "bgr"


IMAGENET = Images(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION = Images(299, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # values from -1 to 1
# Values from 0 to 255 less the means of ImageNet's pixels; VGG's authors have these.
CAFFE_VGG = Images(224, (103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255,) * 3, "bgr")


class Layout(NamedTuple):
    """The table of a source and a family."""

    source: str  # "torchvision"
    family: str  # ours: "resnet"
    names: Mapping[str, str]  # of layers, theirs -> ours: {"layer1.0.conv1": "conv2/block1/conv1"}
    kinds: Mapping[str, str | None] = TORCH
    options: Mapping[str, Any] = {}  # of the network, which shapes do not tell
    images: Mapping[int | None, Images] = {}  # by the number of classes; None: for any other
    epsilon: float | None = None  # of their batch norms, where it is not ours
    biased: bool = False  # convolutions have biases before their batch norms, too
    flattened: tuple[str, int] | None = None  # the linear layer behind a map [C, side, side]
    convolved: Mapping[str, int] = {}  # linear layers that are convolutions there, with their sides
    finish: Callable[..., dict[Path, np.ndarray]] | None = (
        None  # of our arrays, or with `back`=True
    )

    @property
    def is_channels_first(self) -> bool:
        """Whether kernels are [out, in, height, width] and [out, in]."""
        return self.kinds is TORCH

    def ours(self, name: str) -> Path | None:
        """The path of an array with this name there; () for one that we do not keep."""
        layer, kind = split(name)
        if layer not in self.names and name in self.names:
            layer, kind = name, "weight"  # of a name that is the layer's alone
        if layer not in self.names or kind not in self.kinds:
            return None
        ours, leaf = self.names[layer], self.kinds[kind]
        if leaf is None:
            return ()
        if leaf == "kernel" and is_norm(ours):
            leaf = "scale"
        collection = "batch_stats" if leaf in ("mean", "var") else "params"
        return (collection, *ours.split("/"), leaf)

    def theirs(self, path: Path) -> str:
        """The name there of an array of ours, for messages and for writing."""
        layer, leaf = "/".join(path[1:-1]), path[-1]
        name = next((their for their, ours in self.names.items() if ours == layer), layer)
        kinds = [kind for kind, ours in self.kinds.items() if ours == leaf] or ["weight"]
        kind = kinds[-1 if is_norm(layer) else 0]  # Keras's norms have a beta for a bias
        return f"{name}{'.' if self.is_channels_first else '/'}{kind}"

    def shape(self, ours: tuple[int, ...]) -> list[int]:
        """The shape there of an array of ours."""
        if self.is_channels_first and len(ours) in (2, 4):
            return [*ours[:-3:-1], *ours[:-2]]
        return list(ours)

    def to_ours(self, path: Path, array: np.ndarray) -> np.ndarray:
        """The array with its axes in our order."""
        if path[-1] != "kernel" or array.ndim not in (2, 4):
            return array
        is_linear = path[-2] in LINEAR  # there perhaps as a convolution on the whole map
        if array.ndim == 4 and not is_linear:
            return array.transpose(2, 3, 1, 0) if self.is_channels_first else array
        if self.is_channels_first:
            array = array.reshape(len(array), -1).T
        else:
            array = array.reshape(-1, array.shape[-1])
        layer, side = self.flattened or ("", 1)
        if layer == path[-2] and len(array) % side**2 == 0:
            array = array.reshape(-1, side, side, array.shape[-1]).transpose(1, 2, 0, 3)
            array = array.reshape(-1, array.shape[-1])
        return array

    def to_theirs(self, path: Path, array: np.ndarray) -> np.ndarray:
        """The array with its axes in the source's order; `to_ours` takes it back."""
        if path[-1] != "kernel" or array.ndim not in (2, 4):
            return array
        if self.flattened and self.flattened[0] == path[-2]:
            side = self.flattened[1]
            maps = array.reshape(side, side, -1, array.shape[-1]).transpose(2, 0, 1, 3)
            array = maps.reshape(array.shape)
        if not self.is_channels_first:
            return array
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        side = self.convolved.get(path[-2])
        return array.reshape(len(array), -1, side, side) if side else array


LINEAR = ("fc", "linear", "fc6", "fc7", "fc8")


def split(name: str) -> tuple[str, str]:
    """An array's name as those of its layer and of its kind: "fc.weight" or "fc/kernel"."""
    found = re.fullmatch(r"(.*)[./](\w+)", name, re.DOTALL)
    return (found[1], found[2]) if found else ("", name)


def is_norm(layer: str) -> bool:
    """Whether a layer of ours is a batch norm."""
    return re.fullmatch(r"bn[\d_]*|shortcut_bn", layer.rpartition("/")[2]) is not None


def norm_of(layer: str) -> str:
    """The batch norm behind a convolution of ours, in networks that have them."""
    folder, slash, name = layer.rpartition("/")
    norm = "shortcut_bn" if name == "shortcut" else name.replace("conv", "bn", 1)
    return f"{folder}{slash}{norm}"


def in_units(parts: Mapping[str, str], stages: int = 4, most: int = MOST_UNITS) -> dict[str, str]:
    """The names of the layers in residual units, theirs -> ours.

    Args:
      parts: of a unit, ours -> theirs, such as "conv1" -> "layer{s}.{i}.conv1": s counts the stages
        from 1, t from 0 and n from 2, as the paper does; u the units of a stage from 1 and i from
        0; a is the unit's letter, or of all but the first in long stages a letter and a number.
    """
    found = {}
    for s in range(1, stages + 1):
        for u in range(1, most + 1):
            for ours, theirs in parts.items():
                for a in letters(u) if "{a}" in theirs else [""]:
                    name = theirs.format(s=s, t=s - 1, n=s + 1, u=u, i=u - 1, a=a)
                    found[name] = f"conv{s + 1}/block{u}/{ours}"
    return found


def letters(unit: int) -> list[str]:
    """What Caffe's ResNets call a unit: a, b, c, ..., and in long stages a, b1, b2, ..."""
    return ["a"] if unit == 1 else [*"abcdefgh"[unit - 1 : unit], f"b{unit - 1}"]
