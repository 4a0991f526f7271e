"""Iandola et al. (2016), arXiv:1602.07360, Table 3 and Figure 3: SqueezeNet on ImageNet.

Command    python launch.py train --config=experiments/squeezenet/imagenet.py \\
               --config.data.path=IMAGENET
           python launch.py sweep --config=experiments/squeezenet/imagenet.py --table=table_3
           python launch.py eval --config=experiments/squeezenet/imagenet.py --weights=FILE \\
               --config.data.path=IMAGENET
           IMAGENET: {train,val}/<synset>/*.JPEG; or --config.data.name=tfds:imagenet2012
Variants   version `1.0` (default), `1.1`; bypass `none` (default), `simple`, `complex`; `residual`
           mirrors the images, as songhan/SqueezeNet-Residual; `generator` is the recipe of
           songhan/SqueezeNet-Generator
Expected   validation error of one centre crop, top-1 / top-5: 42.5 / 19.7, simple 39.6 / 17.5,
           complex 41.2 / 18.0 %; within 0.5 counts as reproduced
Hardware   an accelerator or more: 170,000 steps of 512 images, 68 epochs
Departures none known: the values are those of the released solver and train_val.prototxt; the paper
           has few of them. Images are resized to 256x256 as for Caffe's LMDB, which its files do
           not show. Each part of a batch of 512 has 32 images: `training.accumulate` of 1 is faster
           where memory allows, and the same but for rounding and dropout
"""

from collections.abc import Iterator

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table
from experiments import smoke
from experiments.squeezenet import published

VARIANTS = {
    "version": ("1.0", "1.1"),
    "bypass": ("none", "simple", "complex"),
    "recipe": ("paper", "residual", "generator", "smoke"),
}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe of the released solver: a straight line from 0.04 to zero."""
    chosen = choose(variant, VARIANTS)
    config = ConfigDict(
        {
            "seed": 0,
            "model": {
                "name": "squeezenet",
                "version": chosen["version"],
                "bypass": chosen["bypass"],
                "conv10_padding": 1 if chosen["version"] == "1.0" else 0,
                "dropout": 0.5,
                "weight_init": "caffe",
            },
            "data": {
                "name": "folder",
                "path": "data/imagenet",
                "image_size": placeholder(int),
                "validation_size": 0,
                "split_seed": 0,
                "storage": "stream",
                "class_list": placeholder(str),
                "on_error": "raise",
                "decoder": "pillow",
                "threads": 0,
                "workers": 0,
                "prefetch": 2,
            },
            "view": {
                "train": {
                    "kind": "scale_crop",
                    "size": 227,
                    "shorter_side": [256, 256],
                    "frame": "squash",
                    "filters": ["bilinear"],
                    "dct_scaling": False,
                },
                "evaluation": {
                    "kind": "centre",
                    "size": 227,
                    "resize": 256,
                    "frame": "squash",
                    "filters": ["bilinear"],
                    "dct_scaling": False,
                },
            },
            "colour": {
                "brightness": 0.0,
                "contrast": 0.0,
                "saturation": 0.0,
                "hue": 0.0,
                "lighting": 0.0,
                "clip": False,
            },
            "preprocessing": {"mean": "caffe_bgr", "deviation": "none", "whitening": "none"},
            "augmentation": {"crop_padding": 0, "crop_fill": "zero", "flip": False},
            "loss": {"label_smoothing": 0.0, "auxiliary_weight": 0.0},
            "optimizer": {
                "name": "momentum",
                "momentum": 0.9,
                "nesterov": False,
                "weight_decay": 2e-4,
                "decay": "all",
                "clip_norm": placeholder(float),
                "bias_rate": 1.0,
                "rate_inside": True,
            },
            "learning_rate": {
                "schedule": "polynomial",
                "rate": 0.04,
                "final_rate": 0.0,
                "power": 1.0,
                "warmup": "0 epochs",
                "warmup_shape": "linear",
                "warmup_rate": 0.0,
            },
            "ema": {"decay": 0.0, "ramp": False},
            "precision": {"matmul": "default"},
            "parallel": {"params": "replicated", "seeds": "auto"},
            "training": {
                "duration": "170000 steps",
                "batch_size": 512,
                "accumulate": 16,
                "checkpoint_every": "1 epoch",
                "steps_per_dispatch": 1,
            },
            "evaluation": {
                "every": "1 epoch",
                "splits": ["test"],
                "batch_size": 250,
                "weights": "raw",
            },
        }
    )
    if chosen["recipe"] == "residual":
        config.augmentation.flip = True
    if chosen["recipe"] == "generator":
        config.optimizer.update(decay="kernels", bias_rate=2.0)
        config.model.bypass_relu = chosen["bypass"] == "complex"
    if chosen["recipe"] == "smoke":
        smoke.on_noise(config, size=67)
    return config


def table_3() -> Iterator[Row]:
    """The bypasses."""
    for bypass, row in published.TABLE_3.items():
        yield Row(f"{bypass} bypass", bypass, published=errors(row))


def figure_3a() -> Iterator[Row]:
    """The squeeze ratio; the paper's text has a number for some."""
    for ratio, share in published.FIGURE_3_COUNTED:
        if share == 0.5:
            row = published.FIGURE_3A.get(ratio, {})
            yield Row(f"SR {ratio:g}", "", {"model.squeeze_ratio": ratio}, errors(row))


def figure_3b() -> Iterator[Row]:
    """The share of 3x3 filters at a squeeze ratio of 0.5."""
    for share in sorted(share for ratio, share in published.FIGURE_3_COUNTED if ratio == 0.5):
        overrides = {"model.squeeze_ratio": 0.5, "model.pct_3x3": share}
        row = published.FIGURE_3B.get(share, {})
        yield Row(f"{share:.0%} 3x3", "", overrides, errors(row))


def errors(row: dict[str, float | None]) -> dict[str, float]:
    """The accuracies of a row as errors."""
    return {
        f"test/{k}_error": round(100 - row[f"{k}_accuracy"], 2)
        for k in ("top1", "top5")
        if row.get(f"{k}_accuracy") is not None
    }


PAPER = "Iandola et al. (2016), arXiv:1602.07360"
PROTOCOL = "validation error of one centre crop of 227, one run"
TABLES = {
    "table_3": Table(f"{PAPER}, Table 3: bypasses", PROTOCOL, "mean", table_3),
    "figure_3a": Table(
        f"{PAPER}, Figure 3(a): squeeze ratio", PROTOCOL, "mean", figure_3a, "model.squeeze_ratio"
    ),
    "figure_3b": Table(
        f"{PAPER}, Figure 3(b): share of 3x3 filters", PROTOCOL, "mean", figure_3b, "model.pct_3x3"
    ),
}
