"""Han et al. (2016), arXiv:1510.00149, Tables 1, 4 and 6: compression of AlexNet.

Command    python launch.py compress --config=experiments/deep_compression/alexnet.py \\
               --config.data.path=IMAGENET --workdir=DIR
           python launch.py sweep --config=experiments/deep_compression/alexnet.py \\
               --table=table_1 --config.data.path=IMAGENET
           IMAGENET: {train,val}/<synset>/*.JPEG; or --config.data.name=tfds:imagenet2012
           --config.compression.start=RUN takes a trained network
Variants   stage `train` (the default of `train`), `prune`, `share` (the default of `compress`,
           which takes those before, too)
Expected   validation error, top-1 / top-5: 42.78 / 19.73 before, 42.78 / 19.70 % after; 35 times
           smaller
Hardware   an accelerator; the stages after training take 13 epochs
Deviations the paper starts from Caffe's model; here the recipe `caffe` of experiments/alexnet
           trains it. The paper does not print its schedules: one round of pruning, a hundredth of
           the rate, 12 epochs of retraining and one of fine-tuning are ours
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row

from ..alexnet import imagenet
from . import published, stages

VARIANTS = {"stage": stages.STAGES}
STAGES = stages.STAGES
INDEX_BITS = 4  # of a gap between two weights, Table 4


def get_config(variant: str = "") -> ConfigDict:
    """One stage, with the densities and bits of Table 4."""
    stage = choose(variant, VARIANTS)["stage"]
    config = imagenet.get_config("caffe")
    if stage != "train":
        stages.follow(config, stage, published.TABLE_4)
    return config


def table_1() -> Iterator[Row]:
    """Errors and size."""
    return stages.errors_and_size({"AlexNet": "share"})


def table_4() -> Iterator[Row]:
    """The layers."""
    return stages.by_layer("AlexNet", "share", published.TABLE_4)


def table_6() -> Iterator[Row]:
    """Bits of the convolutions and of the linear layers; the row with 32 bits has no codes."""
    layers = stages.layers(published.TABLE_4)
    for (convolution, linear), (top1, top5) in published.TABLE_6.items():
        if convolution < 32:
            bits = {name: convolution if "conv" in name else linear for name in layers}
            yield Row(
                f"{convolution} and {linear} bits",
                "share",
                {f"compression.bits.{name}": number for name, number in bits.items()},
                {"after/top1_error": top1, "after/top5_error": top5},
            )


TABLES = {
    "table_1": stages.table(1, "AlexNet on ImageNet", table_1),
    "table_4": stages.table(4, "AlexNet, by layer", table_4),
    "table_6": stages.table(6, "AlexNet, by bits of the codes", table_6),
}
