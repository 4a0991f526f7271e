"""Zagoruyko & Komodakis (2016), arXiv:1605.07146, Tables 6 and 9: SVHN with its extra images.

Command    python launch.py data prepare svhn_cropped --from=DOWNLOADS
           python launch.py train --config=experiments/wide_resnet/svhn.py:16-8,dropout
           python launch.py sweep --config=experiments/wide_resnet/svhn.py --table=table_6
           DOWNLOADS: train_32x32.mat, test_32x32.mat and extra_32x32.mat
Variants   depth-width 16-8 (default), 16-4, 52-1; `dropout` (0.4); `released` drops the rate an
           epoch earlier, as the released code
Expected   test error at the last step: 16-8 1.81, with dropout 1.54; 16-4 1.85, 1.64; 52-1 2.08,
           1.70 %; within 0.1 counts as reproduced
Hardware   an accelerator: 160 epochs of 604,388 images
Deviations none known. Batch size, momentum and weight decay are those of the released code
           (train.lua, scripts/train_svhn.sh); the paper's text does not give them. That code also
           resets the momentum when the rate drops; `released` does not. It initialized by fan-out
           until 2016-09-08; the paper does not say when these networks were trained, here by fan-in
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table

from .. import groups
from . import published

VARIANTS = {
    "network": ("16-8", "16-4", "52-1"),
    "regularization": ("none", "dropout"),
    "recipe": ("paper", "released", "smoke"),
}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe of section 3: no augmentation, images divided by 255."""
    chosen = choose(variant, VARIANTS)
    depth, width = map(int, chosen["network"].split("-"))
    config = ConfigDict(
        {
            **groups.plain(),
            "seed": 0,
            "model": {
                "name": "wide_resnet",
                "depth": depth,
                "width": width,
                "dropout": 0.4 if chosen["regularization"] == "dropout" else 0.0,
                "gamma": "uniform",
            },
            "data": groups.data("tfds:svhn_cropped+extra", None, storage="device"),
            "view": groups.FULL_IMAGES,
            "color": groups.color(),
            "preprocessing": {"mean": "none", "std": "unit", "whitening": "none"},
            "augmentation": {"crop_padding": 0, "crop_fill": "zero", "flip": False},
            "optimizer": groups.momentum(
                nesterov=True, weight_decay=5e-4, decay="all", rate_inside=False
            ),
            "learning_rate": groups.step(0.01, ["80 epochs", "120 epochs"], factor=0.1),
            "training": groups.training("160 epochs", batch_size=128, steps_per_dispatch=10),
            "evaluation": groups.evaluation("test", batch_size=500),
        }
    )
    if chosen["recipe"] == "released":
        config.learning_rate.drops = ["79 epochs", "119 epochs"]
    if chosen["recipe"] == "smoke":
        groups.smoke_on_digits(config)
    return config


def table_6() -> Iterator[Row]:
    """Without and with dropout; the text has the rows of 16-8."""
    for (network, dropout), errors in published.TABLE_6.items():
        if "SVHN" in errors:
            words = "dropout" if dropout else "none"
            name = f"{network} dropout" if dropout else network
            yield Row(name, f"{network},{words}", published={"test/top1_error": errors["SVHN"]})


PAPER = "Zagoruyko & Komodakis (2016), arXiv:1605.07146"
TABLES = {
    "table_6": Table(
        f"{PAPER}, Table 6 (and text, for 16-8): dropout inside the blocks, SVHN",
        "test error after 160 epochs, one run; trained on train and extra, no augmentation",
        "mean",
        table_6,
        tolerance=0.1,
    ),
}
