"""Huang et al. (2016), arXiv:1603.09382, Table 1: stochastic depth on CIFAR-10 and CIFAR-100.

Command    python launch.py train --config=experiments/stochastic_depth/cifar.py \\
               --config.data.path=CIFAR
           python launch.py sweep --config=experiments/stochastic_depth/cifar.py --table=table_1
           CIFAR: the folder of cifar-10-binary.tar.gz (for `cifar100`, cifar-100-binary.tar.gz), or
           a folder {train,test}/<class>/*.png
Variants   depth 110 (default), 1202; `constant` depth; `cifar100`; `plain_images` has no
           augmentation; `released` drops the rate an epoch earlier, as the released code
Expected   test error at the epoch that is best on the 5,000 validation images: 110 5.25 (constant
           depth 6.41), CIFAR-100 24.98 (27.76), 1202 4.91 (6.67) %; within 0.3
           counts as reproduced
Hardware   an accelerator; the authors took 15 hours for 110 layers, 21 with constant depth
Deviations units that are left out keep the statistics of their batch norms. The authors hold out
           500 images of each class, we the same fraction of each, which is the same here. Our last
           layer starts from He's initialization, theirs from Torch's
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table

from .. import groups
from . import published

VARIANTS = {
    "network": ("110", "1202"),
    "depth": ("stochastic", "constant"),
    "dataset": ("cifar10", "cifar100"),
    "images": ("augmented", "plain_images"),
    "recipe": ("paper", "released", "smoke"),
}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe of section 4."""
    chosen = choose(variant, VARIANTS)
    augmented, deep = chosen["images"] == "augmented", chosen["network"] == "1202"
    config = ConfigDict(
        {
            **groups.plain(),
            "seed": 0,
            "model": {
                "name": "cifar_resnet",
                "depth": int(chosen["network"]),
                "shortcut": "average",
                "death_rate": 0.5 if chosen["depth"] == "stochastic" else 0.0,
            },
            "data": groups.data(
                chosen["dataset"],
                f"data/{chosen['dataset']}",
                storage="device",
                validation_size=5000,
            ),
            "view": groups.FULL_IMAGES,
            "color": groups.color(),
            "preprocessing": {"mean": "pixel", "std": "scalar", "whitening": "none"},
            "augmentation": {
                "crop_padding": 4 if augmented else 0,
                "crop_fill": "zero",
                "flip": augmented,
            },
            "optimizer": groups.momentum(
                nesterov=True, weight_decay=1e-4, decay="all", rate_inside=False
            ),
            "learning_rate": learning_rate(deep, released=chosen["recipe"] == "released"),
            "training": groups.training(
                "300 epochs" if deep else "500 epochs", batch_size=128, steps_per_dispatch=10
            ),
            # "validation" chooses the epoch; "test" is only reported.
            "evaluation": groups.evaluation("validation", "test", batch_size=500),
        }
    )
    if chosen["recipe"] == "smoke":
        groups.smoke_on_digits(config)
    return config


def learning_rate(deep: bool, released: bool) -> groups.Group:
    """The paper's steps; main.lua has the lower rate already in these epochs, counted from 1."""
    drops = (150, 225) if deep else (250, 375)
    return groups.step(
        0.1,
        [f"{epoch - released} epochs" for epoch in drops],
        factor=0.1,
        warmup="10 epochs" if deep else "0 epochs",
        warmup_shape="constant",
        warmup_rate=0.01,
    )


def table_1() -> Iterator[Row]:
    """The columns of CIFAR, with augmentation; SVHN is in svhn.py."""
    for depth, errors in published.TABLE_1.items():
        for data in ("CIFAR-10+", "CIFAR-100+"):
            words = f"{depth.removesuffix(' depth')},{DATASETS[data.removesuffix('+')]}"
            yield Row(f"{data}, {depth}", words, published=best(errors[data]))


def without_augmentation() -> Iterator[Row]:
    """Errors in the text of section 4.1."""
    for depth, errors in published.WITHOUT_AUGMENTATION.items():
        for data, error in errors.items():
            words = f"{depth.removesuffix(' depth')},{DATASETS[data]},plain_images"
            yield Row(f"{data}, {depth}", words, published=best(error))


def resnet_1202() -> Iterator[Row]:
    """Errors in the text of section 4.1."""
    for depth, error in published.RESNET_1202.items():
        words = f"1202,{depth.removesuffix(' depth')}"
        yield Row(f"1202 layers, {depth}", words, published=best(error))


def best(error: float) -> dict[str, float]:
    """The published number of a row."""
    return {"best/test/top1_error": error}


DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100"}
PAPER = "Huang et al. (2016), arXiv:1603.09382"
PROTOCOL = "test error at the epoch that is best on 5,000 validation images, one run"
TABLES = {
    "table_1": Table(
        f"{PAPER}, Table 1: ResNet-110, CIFAR", PROTOCOL, "mean", table_1, tolerance=0.3
    ),
    "without_augmentation": Table(
        f"{PAPER}, section 4.1: ResNet-110 without augmentation",
        PROTOCOL,
        "mean",
        without_augmentation,
        tolerance=0.3,
    ),
    "resnet_1202": Table(
        f"{PAPER}, section 4.1: ResNet-1202, CIFAR-10", PROTOCOL, "mean", resnet_1202, tolerance=0.3
    ),
}
