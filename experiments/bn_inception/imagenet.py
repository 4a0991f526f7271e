"""Ioffe & Szegedy (2015), arXiv:1502.03167, section 4.2 and Figure 3: BN-Inception on ImageNet.

Command    python launch.py train --config=experiments/bn_inception/imagenet.py \\
               --config.data.path=IMAGENET
           python launch.py sweep --config=experiments/bn_inception/imagenet.py --table=figure_3
           python launch.py eval RUN RUN ... --ensemble --protocol=crops_144    # Figure 4
           IMAGENET: {train,val}/<synset>/*.JPEG; or --config.data.name=tfds:imagenet2012
Variants   `x30` (default) and `x5`, with the changes of section 4.2.1 and 30 or 5 times the rate;
           `baseline`, which adds nothing but batch norm
Expected   validation error of one center crop, top-1: x30 25.2, x5 27.0, baseline 27.3 %; x30
           top-5, according to arXiv:1512.00567, Table 3, 7.8; six networks by 144 crops, top-5, 4.9
           %; within 0.5 counts as reproduced
Hardware   an accelerator or more
Deviations what the paper does not say is GoogLeNet's, see experiments/googlenet/imagenet.py: views,
           averages, momentum, weight decay of the baseline, one process for many asynchronous ones.
           Its printed accuracies are the greatest of the training; ours are of the last step. The
           lengths are ours: 6 million steps for x5 and x30, 31 million for the baseline. "Reduced"
           color distortions are half of GoogLeNet's. The network has the channels of tf-slim's
           inception_v2. Inception without batch norm, and with sigmoids, is left out
"""

from collections.abc import Iterator

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table, errors

from .. import groups
from ..googlenet import imagenet as googlenet
from . import published

VARIANTS = {"network": ("x30", "x5", "baseline"), "recipe": ("paper", "smoke")}


def get_config(variant: str = "") -> ConfigDict:
    """GoogLeNet's recipe, with the changes of section 4.2.1 but for the baseline."""
    chosen = choose(variant, VARIANTS)
    config = googlenet.get_config()
    config.model = {
        "name": "bn_inception",
        "layout": "released",
        "separable_stem": True,
        "dropout": 0.4,
        "bn_group_size": placeholder(int),  # all 32 images of a batch
    }
    config.loss.auxiliary_weight = 0.0
    config.training.duration = "31000000 steps"
    if chosen["network"] != "baseline":
        change_as_in_section_4_2_1(config, rate=0.0015 * int(chosen["network"][1:]))
    if chosen["recipe"] == "smoke":
        groups.smoke_on_noise(config, size=64)
    return config


def change_as_in_section_4_2_1(config: ConfigDict, rate: float) -> None:
    """A higher rate that falls six times faster, no dropout, less decay, less distorted colors."""
    config.model.dropout = 0.0
    config.learning_rate.update(rate=rate, every="53381 steps")  # a sixth of eight epochs
    config.optimizer.weight_decay /= 5
    config.color.update(brightness=0.2, contrast=0.2, saturation=0.2)
    config.training.duration = "6000000 steps"


def figure_3() -> Iterator[Row]:
    """Inception with batch norm, at three rates."""
    for name in ("BN-Baseline", "BN-x5", "BN-x30"):
        word = name.removeprefix("BN-").lower()
        yield Row(name, word, published=errors(published.FIGURE_3[name]))


def inception_v3() -> Iterator[Row]:
    """What its sequel prints of the best of them."""
    row = published.SINGLE_CROP
    numbers = {f"test/{name}": error for name, error in row.items()}
    yield Row("BN-Inception", "x30", published=numbers)


PROTOCOL = "validation error of one center crop of 224, one run"
TABLES = {
    "figure_3": Table(
        "Ioffe & Szegedy (2015), arXiv:1502.03167, Figure 3: rates, ImageNet",
        f"{PROTOCOL}; the paper's at the greatest accuracy, ours at the last step",
        "mean",
        figure_3,
        "learning_rate.rate",
        full=False,
        note="Lengths, decay and colors are not the paper's, which does not print them.",
    ),
    "inception_v3": Table(
        "Szegedy et al. (2016), arXiv:1512.00567, Table 3: BN-Inception, ImageNet",
        PROTOCOL,
        "mean",
        inception_v3,
        full=False,
        note="Lengths, decay and colors are not the paper's, which does not print them.",
    ),
}
