"""SqueezeNet for CIFAR-10, our own design, with the bypasses of Iandola et al. (2016).

Paper      arXiv:1602.07360; the recipe is not the paper's
Command    python launch.py sweep --config=experiments/squeezenet/cifar10.py --table=bypass \\
               --seeds=3 --config.data.path=CIFAR
           CIFAR: the folder of cifar-10-binary.tar.gz, or a folder {train,test}/<class>/*.png
Variants   `none` (default), `simple` or `complex` bypass; `long` trains 100 epochs instead of two,
           with evaluations and checkpoints by the epoch, for an accelerator
Design     version 1.1 with stride 1 and padding 1 in the first layer: 32x32 images give maps of
           16x16 (fire2, fire3), 8x8 (fire4, fire5) and 4x4 (fire6 to fire9). Half as many expand
           filters and twice the squeeze ratio keep the number of squeeze filters. He's uniform
           initialization as in torchvision; no dropout; RMSProp, because without batch norm
           momentum takes too long to leave the start. No ReLU on the logits: it would silence some
           or all of the ten classes in the first steps. The rate falls linearly to zero, as in the
           paper
Expected   no paper has numbers for it; the order of the bypasses on ImageNet (Table 3) is
           simple (39.6 % top-1 error), complex (41.2), none (42.5). After two epochs here:
           none 47.4 +- 1.4 %, simple 44.4 +- 0.4, complex 38.4 +- 0.2 (experiments/results);
           `long` has not been run
Hardware   two CPU cores: 47 minutes for three seeds of each bypass, beside other work
"""

import functools
from collections.abc import Iterator

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table

from .. import groups

VARIANTS = {"bypass": ("none", "simple", "complex"), "recipe": ("short", "long", "smoke")}


def get_config(variant: str = "") -> ConfigDict:
    """A short recipe for two CPU cores, or a long one."""
    chosen = choose(variant, VARIANTS)
    config = ConfigDict(
        {
            **groups.plain(),
            "seed": 0,
            "model": {
                "name": "squeezenet",
                "version": "1.1",
                "small_input": True,
                "base_e": 64,
                "incr_e": 64,
                "squeeze_ratio": 0.25,
                "bypass": chosen["bypass"],
                "dropout": 0.0,
                "weight_init": "torchvision",
                "logits_relu": False,
            },
            "data": groups.data("cifar10", "data/cifar10", storage="device"),
            "view": groups.FULL_IMAGES,
            "color": groups.color(),
            "preprocessing": {"mean": "channel", "std": "channel", "whitening": "none"},
            "augmentation": {"crop_padding": 4, "crop_fill": "zero", "flip": True},
            "optimizer": rmsprop(),
            "learning_rate": groups.polynomial(1e-4, power=1.0, warmup="100 steps"),
            "training": groups.training(
                "1600 steps", batch_size=64, checkpoint_every="800 steps", steps_per_dispatch=10
            ),
            "evaluation": groups.evaluation("test", batch_size=500, every="800 steps"),
        }
    )
    if chosen["recipe"] == "long":
        config.training.update(duration="100 epochs", checkpoint_every="10 epochs")
        config.evaluation.every = "1 epoch"
    if chosen["recipe"] == "smoke":
        groups.smoke_on_digits(config)
    return config


def rmsprop() -> groups.Group:
    """The update rule of both recipes."""
    return {
        "name": "rmsprop",
        "momentum": 0.9,
        "square_decay": 0.9,
        "epsilon": 1e-8,
        "weight_decay": 2e-4,
        "decay": "all",
        "clip_norm": placeholder(float),
        "clips_decay": False,
        "bias_rate": 1.0,
        **groups.alike(),
    }


def bypass(recipe: str = "short") -> Iterator[Row]:
    """The three bypasses."""
    for name in VARIANTS["bypass"]:
        yield Row(f"{name} bypass", f"{name},{recipe}")


TABLES = {
    "bypass": Table(
        "SqueezeNet for 32x32 images, CIFAR-10, a shortened recipe: no table of the paper",
        "test error after 1,600 steps of 64 images, two epochs; mean of the runs",
        "mean",
        bypass,
        full=False,
        note=(
            "The order is not the paper's (Table 3: simple is best). Two epochs measure how fast "
            "networks begin to learn, not the final errors that it compares: no test of its claim."
        ),
    ),
    "bypass_long": Table(
        "SqueezeNet for 32x32 images, CIFAR-10, 100 epochs: no table of the paper",
        "test error after 100 epochs in batches of 64 images; mean of the runs",
        "mean",
        functools.partial(bypass, "long"),
        full=False,
    ),
}
