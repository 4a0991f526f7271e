"""Networks for CIFAR of repositories that many people train with.

akamaster/pytorch_resnet_cifar10, chenyaofo/pytorch-cifar-models, kuangliu/pytorch-cifar,
xternalz/WideResNet-pytorch and the PyTorch port of szagoruyko/wide-residual-networks; and
the latter's Wide ResNet-50-2 for ImageNet, whose batch norms are part of its convolutions.
"""

import numpy as np

from cnn_jax.interop.sources import names_resnet
from cnn_jax.interop.sources.layout import IMAGENET, Images, Layout, Path, in_units
from cnn_jax.interop.sources.torch_sources import RESNET

CIFAR_10 = Images(32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
CIFAR_100 = Images(32, (0.5070, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761))
WIDE = Images(32, (0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616))
STEM = {"conv1": "conv1", "bn1": "bn1"}
MOST = 200  # units in a stage of ResNet-1202
# Of akamaster and kuangliu, who write the shortcut alike.
UNIT = names_resnet.UNIT | {
    "shortcut": "layer{s}.{i}.shortcut.0",
    "shortcut_bn": "layer{s}.{i}.shortcut.1",
}
WIDE_UNIT = {"bn1": "bn1", "conv1": "conv1", "bn2": "bn2", "conv2": "conv2"}


def layouts() -> list[Layout]:
    """All tables of this file."""
    own = {10: CIFAR_10, 100: CIFAR_100}
    linear = STEM | {"linear": "fc"}
    return [
        Layout(
            "chenyaofo",
            "cifar_resnet",
            STEM | {"fc": "fc"} | in_units(names_resnet.UNIT, 3, MOST),
            options={"init_fan": "out", "shortcut": "B"},
            images=own,
        ),
        Layout(
            "akamaster",
            "cifar_resnet",
            linear | in_units(UNIT, 3, MOST),
            images={None: IMAGENET._replace(size=32)},
            finish=zeros_behind,
        ),
        Layout(
            "kuangliu", "resnet", linear | in_units(UNIT), options=RESNET, images={10: CIFAR_10}
        ),
        *wide_resnets(),
    ]


def wide_resnets() -> list[Layout]:
    """The tables of Wide ResNets."""
    unit = {ours: f"block{{s}}.layer.{{i}}.{theirs}" for ours, theirs in WIDE_UNIT.items()}
    unit["shortcut"] = "block{s}.layer.{i}.convShortcut"
    names = {"conv1": "conv1", "bn1": "bn", "fc": "fc"} | in_units(unit, 3)
    images = {10: WIDE, 100: WIDE}
    found = [Layout("xternalz", "wide_resnet", names, images=images)]
    # The authors count from 0, and a convolution's array has the name of its layer.
    unit = {f"{kind}{i + 1}": f"{kind}{i}" for kind in ("conv", "bn") for i in range(5)}
    unit = {ours: f"group{{t}}.block{{i}}.{theirs}" for ours, theirs in unit.items()}
    wide = {"conv0": "conv1", "bn": "bn", "fc": "fc"}
    wide |= in_units(unit | {"shortcut": "group{t}.block{i}.convdim"}, 3)
    found.append(Layout("szagoruyko", "wide_resnet", wide, images=images))
    large = {"conv0": "conv1", "fc": "fc"}
    large |= in_units(unit | {"shortcut": "group{t}.block{i}.conv_dim"})
    found.append(Layout("szagoruyko", "resnet", large, options=RESNET, images={None: IMAGENET}))
    return found


def zeros_behind(flat: dict[Path, np.ndarray], back: bool) -> dict[Path, np.ndarray]:
    """The same network with the zeros of option A behind the channels, as in the paper.

    akamaster puts half of them in front. So the channels between the units stand in another order
    there, and with them the rows and columns of the kernels that read and write them. `back`: from
    our order to akamaster's.
    """
    if any("shortcut" in path for path in flat):  # option B
        return flat
    order = np.arange(16)
    orders = {"conv2": order}
    for stage, channels in (("conv3", 32), ("conv4", 64)):
        pad = channels // 4
        behind = np.r_[0:pad, channels - pad : channels]
        order = np.r_[order + pad, behind]
        orders[stage] = order
    if back:
        orders = {stage: np.argsort(order) for stage, order in orders.items()}
    return {path: reordered(path, array, orders) for path, array in flat.items()}


def reordered(path: Path, array: np.ndarray, orders: dict[str, np.ndarray]) -> np.ndarray:
    """An array of a basic unit, or of the last layer, with its stage's channels in our order."""
    if path[1] == "fc":
        return array[orders["conv4"]] if path[-1] == "kernel" else array
    if path[1] not in orders or len(path) < 5:
        return array
    stage, unit, layer = path[1:4]
    before = {"conv3": "conv2", "conv4": "conv3"}.get(stage, stage) if unit == "block1" else stage
    if layer == "conv1" and path[-1] == "kernel":
        return array[:, :, orders[before]]
    return array[..., orders[stage]] if layer in ("conv2", "bn2") else array
