"""Han et al. (2016), arXiv:1510.00149, Tables 1 to 3: compression of LeNet-300-100 and LeNet-5.

Command    python launch.py train --config=experiments/deep_compression/lenet.py:5,prune
           --config.data.path=FOLDER --config.compression.start=RUN
           is one stage; python experiments/deep_compression/pipeline.py lenet:5 --data=FOLDER
           --workdir=DIR runs all of them. FOLDER has the four IDX files
Variants   network 5 (default), 300-100; stage `train` (default), `prune`, `share`; data `fashion`
           (default) or `mnist`, as in the paper
Expected   densities and bits of the paper; files about 40 times smaller with no more errors than
           before. Measured on Fashion-MNIST: see README.md
Deviations the paper does not print its schedules: durations and rates are ours
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cnn_jax.config import choose

from .. import quickstart
from . import published

VARIANTS = {
    "network": ("5", "300-100"),
    "stage": ("train", "prune", "share"),
    "data": ("fashion", "mnist"),
}
PRINTED = {"300-100": published.TABLE_2, "5": published.TABLE_3}
RATES = {"train": 0.02, "prune": 0.01, "share": 1e-5}
# LeNet-5 trains for fewer epochs, as it takes about ten times as long for an image.
DURATIONS = {
    "300-100": {"train": "6 epochs", "prune": "6 epochs", "share": "1 epoch"},
    "5": {"train": "2 epochs", "prune": "3 epochs", "share": "0.25 epochs"},
}


def get_config(variant: str = "") -> ConfigDict:
    """One stage of one network."""
    chosen = choose(variant, VARIANTS)
    network, stage = chosen["network"], chosen["stage"]
    config = quickstart.get_config()
    config.model = ConfigDict({"name": "lenet", "variant": network})
    config.data.name = {"fashion": "fashion_mnist", "mnist": "mnist"}[chosen["data"]]
    config.data.path = f"data/{config.data.name}"
    config.preprocessing.update(mean="channel", std="channel")
    config.augmentation.update(crop_padding=0, flip=False)
    config.loss.label_smoothing = 0.0
    config.learning_rate.update(rate=RATES[stage], warmup="0 epochs")
    config.training.update(duration=DURATIONS[network][stage], batch_size=64)
    config.training.checkpoint_every = "1 epoch"
    config.evaluation.update(splits=["test"], batch_size=500)
    if stage != "train":
        config.compression = {"stage": stage, "start": placeholder(str), **options(network)[stage]}
    return config


def options(network: str) -> dict[str, dict]:
    """The options of each stage, with the densities and bits of the paper's table."""
    layers = {name: row for name, row in PRINTED[network].items() if name != "total"}
    return {
        "prune": {
            "rule": "density",
            "amount": {name: row["density"] / 100 for name, row in layers.items()},
            "rounds": 3,
            "until": {"300-100": "3 epochs", "5": "1 epoch"}[network],
        },
        "share": {
            "bits": {name: row["weight_bits"] for name, row in layers.items()},
            "initialization": "linear",
        },
    }
