"""Fine-tuning: a classifier for your own classes, from a network that is trained already.

Paper      none; the two phases are those of Howard & Ruder (2018), arXiv:1801.06146, and Kumar et
           al. (2022), arXiv:2202.10054; rates by layer as in Clark et al. (2020), arXiv:2003.10555
Command    python launch.py train --config=experiments/finetune/folder.py
           python launch.py train --config=experiments/finetune/folder.py:resnet50
           --config.init.weights=torchvision:resnet50 --config.data.path=FOLDER
           FOLDER: {train,val,test}/<class>/*, or {train,test}/<class>/*, or <class>/* alone
Variants   network: `digits` (default), scikit-learn's, from a small network trained on
           Fashion-MNIST that comes with it; or torchvision's name of the network of the weights.
           recipe: `finetune` trains all layers, `probe` the classifier alone, `two_phase` the
           classifier for a quarter of the training, and then all
Hardware   two CPU cores take 30 s for the digits, compilation included
Expected   digits: 97.8 % test accuracy in eight epochs, 94.4 % from initial values (one seed)
"""

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.interop import torchvision

from .. import groups

VARIANTS = {
    "network": ("digits", *torchvision.names()),
    "recipe": ("finetune", "probe", "two_phase", "smoke"),
}
BUT_THE_CLASSIFIER = ["!classifier"]


def get_config(variant: str = "") -> ConfigDict:
    """The recipe for the digits, or for a folder and a network of torchvision's."""
    chosen = choose(variant, VARIANTS)
    network = chosen["network"]
    config = ConfigDict(
        {
            **groups.plain(),
            "seed": 0,
            "color": groups.color(),
            # As the weights expect.
            "preprocessing": {"mean": "weights", "std": "weights", "whitening": "none"},
            "optimizer": groups.momentum(
                nesterov=True, weight_decay=1e-4, decay="kernels", rate_inside=False
            ),
            **(of_digits() if network == "digits" else of_folder(network)),
        }
    )
    if chosen["recipe"] == "probe":
        config.optimizer.freeze = BUT_THE_CLASSIFIER
    if chosen["recipe"] == "two_phase":
        epochs = float(config.training.duration.split()[0])
        config.optimizer.update(freeze=BUT_THE_CLASSIFIER, freeze_until=f"{epochs / 4:g} epochs")
    if chosen["recipe"] == "smoke" and network == "digits":
        groups.a_few_steps(config, batch_size=32)
    elif chosen["recipe"] == "smoke":
        config.preprocessing.update(mean="channel", std="channel")
        groups.smoke_on_noise(config, size=96)
    return config


def of_digits() -> groups.Group:
    """The groups for the digits that come with scikit-learn."""
    return {
        # Ten kinds of clothes: the last layer knows other classes, as many as there are digits.
        "init": groups.init("experiments/finetune/fashion_mnist.cnn", ["*", "!classifier"]),
        "model": {"name": "wide_resnet", "depth": 10, "width": 2, "gamma": "ones"},
        "data": groups.data("digits", None, storage="device"),
        "view": groups.FULL_IMAGES,
        "augmentation": {"crop_padding": 1, "crop_fill": "zero", "flip": False},
        "learning_rate": groups.cosine(0.02, warmup="1 epoch"),
        "training": groups.training("8 epochs", batch_size=64, steps_per_dispatch=20),
        "evaluation": groups.evaluation("validation", batch_size=180),
    }


def of_folder(network: str) -> groups.Group:
    """The groups for a folder of images, and torchvision's network of this name."""
    size = 299 if network == "inception_v3" else 224
    return {
        "model": torchvision.options(network),
        "data": groups.data("folder", None, storage="stream", validation_size=0, on_error="skip"),
        "view": {
            "train": groups.area_aspect(size, 0.25, ["bilinear"]),
            "evaluation": groups.center(size, resize=round(size * 256 / 224)),
        },
        "augmentation": {"crop_padding": 0, "crop_fill": "zero", "flip": True},
        "learning_rate": groups.cosine(0.005, warmup="0.5 epochs"),
        "training": groups.training("10 epochs", batch_size=32, steps_per_dispatch=1),
        "evaluation": groups.evaluation("train", batch_size=50, every="5 epochs"),
    }
