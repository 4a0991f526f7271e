"""Huang et al. (2016), arXiv:1603.09382, Table 1 and section 4: stochastic depth on ImageNet.

Command    python launch.py train --config=experiments/stochastic_depth/imagenet.py \\
               --config.data.path=IMAGENET
           python launch.py sweep --config=experiments/stochastic_depth/imagenet.py --table=table_1
           IMAGENET: {train,val}/<synset>/*.JPEG; or --config.data.name=tfds:imagenet2012
Variants   `constant` depth; `120` epochs (default), `90`
Expected   top-1 validation error of one center crop: after 120 epochs 21.98, constant depth 21.78,
           after 90 epochs 23.38, 23.06 %; within 0.3 counts as reproduced
Hardware   four accelerators or more
Deviations none known: the paper takes its settings from fb.resnet.torch, but batches of 128 on
           four GPUs, and lowers the rate once more at epoch 90. Batch norms see 32 images, and
           those of units that are left out keep their statistics
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table, top1

from .. import groups
from ..resnet import imagenet as resnet
from . import published

VARIANTS = {
    "depth": ("stochastic", "constant"),
    "epochs": ("120", "90"),
    "recipe": ("paper", "smoke"),
}


def get_config(variant: str = "") -> ConfigDict:
    """ResNet-152 by fb.resnet.torch, in batches of 128, with a last drop at epoch 90."""
    chosen = choose(variant, VARIANTS)
    config = resnet.get_config("152,fb.resnet.torch")
    config.model.bn_group_size = 32
    config.model.death_rate = 0.5 if chosen["depth"] == "stochastic" else 0.0
    config.learning_rate.drops = ["30 epochs", "60 epochs", "90 epochs"]
    config.training.update(duration=f"{chosen['epochs']} epochs", batch_size=128)
    if chosen["recipe"] == "smoke":
        groups.smoke_on_noise(config, size=64)
    return config


def table_1() -> Iterator[Row]:
    """The column of ImageNet, after 120 epochs; the text has the errors after 90."""
    for epochs, errors in published.RESNET_152.items():
        for depth, error in errors.items():
            words = f"{depth.removesuffix(' depth')},{epochs}"
            yield Row(f"{depth}, {epochs} epochs", words, published=top1(error))


TABLES = {
    "table_1": Table(
        "Huang et al. (2016), arXiv:1603.09382, Table 1 and section 4: ResNet-152, ImageNet",
        "validation error of one center crop of 224, one run",
        "mean",
        table_1,
        tolerance=0.3,
    ),
}
