"""Huang et al. (2016), arXiv:1603.09382, Table 1: stochastic depth on SVHN.

Command    python launch.py data prepare svhn_cropped --from=DOWNLOADS
           python launch.py train --config=experiments/stochastic_depth/svhn.py
           python launch.py sweep --config=experiments/stochastic_depth/svhn.py --table=table_1
           DOWNLOADS: train_32x32.mat, test_32x32.mat and extra_32x32.mat
Variants   `constant` depth; `released` drops the rate an epoch earlier, as the released code
Expected   test error at the evaluation that is best on the validation images: 1.75, constant depth
           1.80 %; within 0.1 counts as reproduced
Hardware   an accelerator; the authors took 26 hours, 34 with constant depth
Deviations we hold out the same fraction of each class, 6,000 images; the authors took 400 of each
           class from train and 200 from extra. We evaluate every epoch, as the paper's figure does;
           the released code does so every 200 steps
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table

from .. import groups
from . import published

VARIANTS = {
    "depth": ("stochastic", "constant"),
    "recipe": ("paper", "released", "smoke"),
}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe of section 4: 152 layers, 50 epochs."""
    chosen = choose(variant, VARIANTS)
    config = ConfigDict(
        {
            **groups.plain(),
            "seed": 0,
            "model": {
                "name": "cifar_resnet",
                "depth": 152,
                "shortcut": "average",
                "death_rate": 0.5 if chosen["depth"] == "stochastic" else 0.0,
            },
            "data": groups.data(
                "tfds:svhn_cropped+extra", None, storage="device", validation_size=6000
            ),
            "view": groups.FULL_IMAGES,
            "color": groups.color(),
            "preprocessing": {"mean": "pixel", "std": "scalar", "whitening": "none"},
            "augmentation": {"crop_padding": 0, "crop_fill": "zero", "flip": False},
            "optimizer": groups.momentum(
                nesterov=True, weight_decay=1e-4, decay="all", rate_inside=False
            ),
            "learning_rate": groups.step(
                0.1,
                ["30 epochs", "35 epochs"],
                factor=0.1,
                warmup="0 epochs",
                warmup_shape="constant",
                warmup_rate=0.01,
            ),
            "training": groups.training("50 epochs", batch_size=128, steps_per_dispatch=10),
            # "validation" chooses the epoch; "test" is only reported.
            "evaluation": groups.evaluation("validation", "test", batch_size=500),
        }
    )
    if chosen["recipe"] == "released":
        config.learning_rate.drops = ["29 epochs", "34 epochs"]
    if chosen["recipe"] == "smoke":
        groups.smoke_on_digits(config)
    return config


def table_1() -> Iterator[Row]:
    """The column of SVHN."""
    for depth, errors in published.TABLE_1.items():
        numbers = {"best/test/top1_error": errors["SVHN"]}
        yield Row(depth, depth.removesuffix(" depth"), published=numbers)


PAPER = "Huang et al. (2016), arXiv:1603.09382"
TABLES = {
    "table_1": Table(
        f"{PAPER}, Table 1: ResNet-152, SVHN",
        "test error at the epoch that is best on 6,000 validation images, one run",
        "mean",
        table_1,
        tolerance=0.1,
    ),
}
