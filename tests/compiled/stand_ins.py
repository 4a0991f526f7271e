"""Compiles the training program of a small stand-in of a family, for devices that are not here.

`python tests/compiled/stand_ins.py FAMILY TARGET WAY FILE` writes the program's HLO to the file and
prints what is to be found in it. The ways: "ours"; "plain", with the layers of Linen; "groups",
with batch-norm groups that lie on one device; "sharded", with the parameters in pieces.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

import flax.linen as nn
import jax
import numpy as np

import cnn_jax
from cnn_jax import models
from cnn_jax.accelerators import shapes, targets, topologies
from cnn_jax.data import Dataset, Split
from cnn_jax.errors import UserError
from cnn_jax.models import inception_v3, layers, pooling, resnet, squeezenet, vgg

BATCH, EXAMPLES, CLASSES, STEPS = 32, 2048, 10, 2


class StandIn(NamedTuple):
    """A recipe whose network is cut down to its first blocks."""

    recipe: str
    side: int  # of the images
    overrides: tuple[str, ...] = ()
    cut: Callable[[], None] = lambda: None


def cut_resnet() -> None:
    """The stem and two bottlenecks."""
    resnet.UNITS[50], resnet.STAGES[1:] = ("bottleneck", (2,)), []


def cut_inception() -> None:
    """The stem and one module."""
    for name in [*inception_v3.RELEASED][8:]:
        del inception_v3.RELEASED[name]


def cut_squeezenet() -> None:
    """The first convolution and two fire modules."""
    sizes = squeezenet.fire_sizes
    squeezenet.fire_sizes = lambda *fields: dict([*sizes(*fields).items()][:2])


def cut_vgg() -> None:
    """Three convolutions and the linear layers."""
    vgg.CHANNELS, vgg.CONVOLUTIONS[11] = vgg.CHANNELS[:3], (1, 1, 1)


STAND_INS = {
    "cifar_resnet": StandIn("resnet/cifar10.py", 32, ("model.depth=8",)),
    "inception_v3": StandIn(
        "inception_v3/imagenet.py", 107, ("model.auxiliary=none",), cut_inception
    ),
    "resnet": StandIn("resnet/imagenet.py:50", 112, (), cut_resnet),
    "squeezenet": StandIn("squeezenet/imagenet.py", 111, (), cut_squeezenet),
    "vgg": StandIn("vgg/imagenet.py", 56, ("model.depth=11", "model.fc_width=256"), cut_vgg),
    "wide_resnet": StandIn("wide_resnet/cifar.py", 32, ("model.depth=10", "model.width=2")),
}


class LinenBatchNorm(layers.BatchNorm):
    """Linen's, with the arguments of ours."""

    @nn.compact
    def __call__(self, x, train):
        """Normalizes the whole batch [B, H, W, C]."""
        known = {"momentum": self.momentum, "epsilon": self.epsilon, "dtype": self.dtype}
        return nn.BatchNorm(not train, use_scale=self.use_scale, **known)(x)


def take_linen() -> None:
    """Networks are made of Linen's layers from here on, as its users write them."""
    layers.Conv, layers.Dense, layers.BatchNorm = nn.Conv, nn.Dense, LinenBatchNorm
    pooling._maxima = pooling._plain_maxima


def main(family: str, target: str, way: str, file: str) -> None:
    """Compiles, writes and prints."""
    try:
        devices = topologies.devices(targets.parse(target))
    except UserError as error:
        print(json.dumps({"missing": str(error)}))
        return
    recipe, side, overrides, cut = STAND_INS[family]
    cut()
    if way == "plain":
        take_linen()
    fields = [
        *overrides,
        *("model.dtype=bfloat16", f"training.batch_size={BATCH}", "training.accumulate=1"),
        f"training.steps_per_dispatch={STEPS}",
        f"parallel.params={'sharded' if way == 'sharded' else 'replicated'}",
    ]
    if "bn_group_size" in models.options(family):
        fields.append(f"model.bn_group_size={BATCH // len(devices)}")
    config = cnn_jax.load_config(f"experiments/{recipe}", fields).unlock()
    config.view.train = config.view.evaluation = {"kind": "full"}
    config.data.storage = "device"
    images = shapes.no_array((EXAMPLES, side, side, 3), np.uint8)
    split = Split(images, np.zeros(EXAMPLES, np.int32))
    names = tuple(map(str, range(CLASSES)))
    dataset = Dataset(names, dict.fromkeys(("train", "validation", "test"), split))
    setup, examples = shapes.set_up(config, devices, dataset)
    state = setup.seeds.template
    compiled = setup.seeds.train_steps.lower(state, *examples).compile()
    Path(file).write_text(compiled.as_text())
    sizes = {"state": len(jax.tree.leaves(state)), "data": images.size}
    print(json.dumps(sizes | {"params": sum(leaf.size for leaf in jax.tree.leaves(state.params))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
