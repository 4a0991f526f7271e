"""Han et al. (2016), arXiv:1510.00149, Tables 1 and 5: compression of VGG-16.

Command    python launch.py compress --config=experiments/deep_compression/vgg.py \\
               --config.data.path=IMAGENET --workdir=DIR
           python launch.py sweep --config=experiments/deep_compression/vgg.py \\
               --table=table_1 --config.data.path=IMAGENET
           IMAGENET: {train,val}/<synset>/*.JPEG; or --config.data.name=tfds:imagenet2012
           --config.compression.start=RUN takes a trained network
Variants   stage `train` (the default of `train`), `prune`, `share` (the default of `compress`,
           which takes those before, too)
Expected   validation error, top-1 / top-5: 31.50 / 11.32 before, 31.17 / 10.91 % after; 49 times
           smaller
Hardware   an accelerator; the stages after training take 13 epochs
Deviations the paper starts from the authors' model; here the recipe of experiments/vgg trains
           it. The paper does not print its schedules: one round of pruning, a hundredth of
           the rate, 12 epochs of retraining and one of fine-tuning are ours
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row

from ..vgg import imagenet
from . import published, stages

VARIANTS = {"stage": stages.STAGES}
STAGES = stages.STAGES
INDEX_BITS = 5  # of a gap between two weights, Table 5


def get_config(variant: str = "") -> ConfigDict:
    """One stage, with the densities and bits of Table 5."""
    stage = choose(variant, VARIANTS)["stage"]
    config = imagenet.get_config("D")
    if stage != "train":
        stages.follow(config, stage, published.TABLE_5)
    return config


def table_1() -> Iterator[Row]:
    """Errors and size."""
    return stages.errors_and_size({"VGG-16": "share"})


def table_5() -> Iterator[Row]:
    """The layers."""
    return stages.by_layer("VGG-16", "share", published.TABLE_5)


TABLES = {
    "table_1": stages.table(1, "VGG-16 on ImageNet", table_1),
    "table_5": stages.table(5, "VGG-16, by layer", table_5),
}
