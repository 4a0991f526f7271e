"""The names of the residual networks and of their layers in torchvision."""

import functools
import re

import flax
import jax
import jax.numpy as jnp

from cnn_jax import errors
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.resnet import ResNet

# torchvision's name -> our family and options.
_COMMON = {"name": "resnet", "stride_in": "3x3", "init_fan": "out"}
NETWORKS = {
    **{f"resnet{depth}": {**_COMMON, "depth": depth} for depth in (18, 34, 50, 101, 152)},
    **{
        f"wide_resnet{depth}_2": {**_COMMON, "depth": depth, "inner_width": 2.0}
        for depth in (50, 101)
    },
    "resnext50_32x4d": {**_COMMON, "depth": 50, "inner_width": 2.0, "groups": 32},
    "resnext101_32x8d": {**_COMMON, "depth": 101, "inner_width": 4.0, "groups": 32},
}
IN_UNIT = {"shortcut": "downsample.0", "shortcut_bn": "downsample.1"}


def torch_names(module: ResNet) -> dict[str, str | list[str]]:
    """Maps the path of each layer ("conv2/block1/conv1") to its prefix ("layer1.0.conv1").

    A layer of a scanned stack ("conv4/blocks/conv1") has a list of prefixes in the order of the
    stack. Raises `UserError` for a network with other units, which torchvision does not have.
    """
    if module.preactivation or module.order != "original" or not module.shortcut_bn:
        raise errors.UserError(
            "torchvision has no pre-activated ResNet, nor one with other units: set "
            "preactivation=False, order='original' and shortcut_bn=True"
        )
    # Neither changes the names: one trace for all networks of a depth.
    return dict(_names(module.clone(num_classes=1, inner_width=1.0, groups=1)))


@functools.lru_cache(maxsize=16)
def _names(module: ResNet) -> dict[str, str | list[str]]:
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params = eval_shape(module.init, jax.random.key(0), image)["params"]
    names = {}
    for path, leaf in flax.traverse_util.flatten_dict(params).items():
        layer = "/".join(path[:-1])
        unit = re.fullmatch(r"conv(\d)/block(s|\d+)/(\w+)", layer)
        if not unit:
            names[layer] = layer
            continue
        stage, which, inside = unit.groups()
        prefixes = [
            f"layer{int(stage) - 1}.{i}.{IN_UNIT.get(inside, inside)}"
            for i in (range(1, leaf.shape[0] + 1) if which == "s" else [int(which) - 1])
        ]
        names[layer] = prefixes if which == "s" else prefixes[0]
    return names
