"""The quickstart: a small Wide ResNet on scikit-learn's handwritten digits.

Paper      none; the network is Zagoruyko & Komodakis (2016), arXiv:1605.07146, WRN-10-2
Command    python launch.py
Hardware   two CPU cores take 30 s, compilation included
Expected   98.9 % test accuracy; at least 98.5 % counts as reproduced
"""

from ml_collections import ConfigDict

from cnn_jax.config import choose

from . import groups

VARIANTS = {"recipe": ("quickstart",)}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe; it has no variants."""
    choose(variant, VARIANTS)
    return ConfigDict(
        {
            **groups.plain(),
            "seed": 0,
            "model": {"name": "wide_resnet", "depth": 10, "width": 2, "gamma": "ones"},
            "data": groups.data("digits", None, storage="device"),
            "view": groups.FULL_IMAGES,
            "color": groups.color(),
            "preprocessing": {"mean": "pixel", "std": "scalar", "whitening": "none"},
            "augmentation": {"crop_padding": 1, "crop_fill": "zero", "flip": False},
            "loss": {"label_smoothing": 0.1, "auxiliary_weight": 0.0},
            "optimizer": groups.momentum(
                nesterov=True, weight_decay=5e-4, decay="kernels", rate_inside=False
            ),
            "learning_rate": groups.cosine(0.1, warmup="2 epochs"),
            "training": groups.training(
                "40 epochs", batch_size=64, checkpoint_every="5 epochs", steps_per_dispatch=20
            ),
            "evaluation": groups.evaluation("validation", batch_size=180),
        }
    )
