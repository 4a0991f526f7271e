"""Deep Compression (Han et al. 2016, arXiv:1510.00149) of ResNet-20 on CIFAR-10.

Command    python launch.py compress --config=experiments/deep_compression/cifar10.py:prune \\
               --config.data.path=CIFAR --config.compression.start=RUN --workdir=DIR \\
               --quality=6.6 --images=CIFAR/train --count=500
           RUN: a run of experiments/resnet/cifar10.py:20 or :20,fast
Variants   `prune` (default) keeps 35 % of all weights, in two rounds; `share` trains 2^5 values in
           each layer, instead of the steps of --quality
Expected   from 12.32 % (`20,fast`): pruned 12.20 %, the file 12.47 % and 22.9 times smaller than
           float32; no run of `share` is complete
Hardware   two CPU cores: `prune` takes 4 epochs, some ten minutes
Deviations the paper has no residual network: densities, rounds and rates are ours
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cnn_jax.config import choose

from ..resnet import cifar10

VARIANTS = {"stage": ("prune", "share")}
STAGES = VARIANTS["stage"]
OPTIONS = {
    "prune": {"rule": "overall_density", "amount": 0.35, "rounds": 2, "until": "1 epoch"},
    "share": {"bits": 5, "initialization": "linear"},
}


def get_config(variant: str = "") -> ConfigDict:
    """The short recipe of ResNet-20 with a lower rate."""
    stage = choose(variant, VARIANTS)["stage"]
    config = cifar10.get_config("20,fast")
    config.compression = {"stage": stage, "start": placeholder(str), **OPTIONS[stage]}
    if stage == "prune":
        config.learning_rate.update(rate=0.05, warmup="0 epochs")
        config.training.duration = "4 epochs"
    else:
        config.learning_rate.update(rate=1e-4, warmup="0 epochs")
        config.training.duration = "1 epoch"
    return config
