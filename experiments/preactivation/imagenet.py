"""He et al. (2016), arXiv:1603.05027, Table 5 and section 4.1: pre-activation on ImageNet.

Command    python launch.py train --config=experiments/preactivation/imagenet.py:200 \\
               --config.data.path=IMAGENET
           python launch.py sweep --config=experiments/preactivation/imagenet.py --table=table_5
           IMAGENET: {train,val}/<synset>/*.JPEG; or --config.data.name=tfds:imagenet2012
Variants   depth 200 (default), 152, 101; units `preactivation` (default), `original` and
           `bn_after_addition`; `aspect` adds aspect ratio to scale augmentation
Expected   validation error, top-1 / top-5, one crop of 320: 200 20.7 / 5.3 (original units 21.8 /
           6.0, `aspect` 20.1 / 4.8), 152 21.1 / 5.5 (21.3 / 5.5) %; one crop of 224: 101,original
           23.6 / 7.1, 101,bn_after_addition 24.6 / 7.5 %; within 0.3 counts as reproduced
Hardware   eight accelerators; ResNet-200 took the authors about three weeks on eight GPUs
Deviations the paper does not say when it stops (here after 90 epochs), nor the size of the images
           from which it takes the crop of 320 (here their shorter side is 320)
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table, errors

from .. import groups
from ..resnet import imagenet as resnet
from . import published

VARIANTS = {
    "depth": ("200", "152", "101"),
    "unit": ("preactivation", "original", "bn_after_addition"),
    "augmentation": ("scale", "aspect"),
    "recipe": ("paper", "smoke"),
}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe of arXiv:1512.03385 with other rate drops, evaluated with a larger crop."""
    chosen = choose(variant, VARIANTS)
    config = resnet.get_config("152,B,steps")
    preactivation = chosen["unit"] == "preactivation"
    config.model.update(depth=int(chosen["depth"]), preactivation=preactivation)
    if chosen["unit"] == "bn_after_addition":
        config.model.order = "BN after addition"
    config.view.evaluation.update(size=320, resize=320)
    if chosen["augmentation"] == "aspect":
        config.view.train = groups.area_aspect(224, 0.08)
    if chosen["recipe"] == "smoke":
        groups.smoke_on_noise(config, size=64)
    return config


def table_5() -> Iterator[Row]:
    """The paper's own rows."""
    for (network, augmentation, _, test), row in published.TABLE_5.items():
        unit, _, depth = network.rpartition("ResNet-")
        if not depth.isdigit():
            continue  # Inception-v3
        words = f"{depth},{unit.removesuffix('-activation ').replace('pre', 'preactivation')}"
        words = words if unit else f"{depth},original"
        words += ",aspect" if "aspect" in augmentation else ""
        sizes = {} if test == 320 else CROP_OF_224
        numbers = errors(row)
        yield Row(f"{network}, {augmentation}, {test}", words, sizes, numbers)


def resnet_101() -> Iterator[Row]:
    """Where the last batch norm of a unit stands, in the text."""
    for unit, row in published.RESNET_101.items():
        words = f"101,{unit.lower().replace(' ', '_')}"
        yield Row(f"ResNet-101, {unit}", words, CROP_OF_224, errors(row))


CROP_OF_224 = {"view.evaluation.size": 224, "view.evaluation.resize": 256}

TABLES = {
    "table_5": Table(
        "He et al. (2016), arXiv:1603.05027, Table 5: ImageNet",
        "validation error of one center crop, of 224 or 320 as the row says, one run",
        "mean",
        table_5,
        tolerance=0.3,
    ),
    "resnet_101": Table(
        "He et al. (2016), arXiv:1603.05027, section 4.1: batch norm after the addition, ImageNet",
        "validation error of one center crop of 224, one run",
        "mean",
        resnet_101,
        tolerance=0.3,
    ),
}
