"""The quickstart: a small Wide ResNet on scikit-learn's handwritten digits.

Paper      none; the network is Zagoruyko & Komodakis (2016), arXiv:1605.07146, WRN-10-2
Command    python launch.py
Hardware   two CPU cores take 42 s, compilation included
Expected   98.9 % test accuracy; 98.5 % or better counts as right
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cnn_jax.config import choose
from experiments import in_memory

VARIANTS = {"recipe": ("quickstart",)}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe; it has no variants."""
    choose(variant, VARIANTS)
    return ConfigDict(
        {
            "seed": 0,
            "model": {"name": "wide_resnet", "depth": 10, "width": 2, "gamma": "ones"},
            "data": {
                "name": "digits",
                "path": placeholder(str),
                "image_size": placeholder(int),
                "validation_size": 0,
                "split_seed": 0,
                **in_memory.data(),
            },
            "view": in_memory.VIEW,
            "colour": in_memory.COLOUR,
            "preprocessing": {"mean": "pixel", "deviation": "scalar", "whitening": "none"},
            "augmentation": {"crop_padding": 1, "crop_fill": "zero", "flip": False},
            "loss": {"label_smoothing": 0.1, "auxiliary_weight": 0.0},
            "optimizer": {
                "name": "momentum",
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 5e-4,
                "decay": "kernels",
                "clip_norm": placeholder(float),
                "bias_rate": 1.0,
                "rate_inside": False,
            },
            "learning_rate": {
                "schedule": "cosine",
                "rate": 0.1,
                "final_rate": 0.0,
                "warmup": "2 epochs",
                "warmup_shape": "linear",
                "warmup_rate": 0.0,
            },
            "ema": {"decay": 0.0, "ramp": False},
            "precision": {"matmul": "default"},
            "parallel": {"params": "replicated", "seeds": "auto"},
            "training": {
                "duration": "40 epochs",
                "batch_size": 64,
                "accumulate": 1,
                "checkpoint_every": "5 epochs",
                "steps_per_dispatch": 20,
            },
            "evaluation": {
                "every": "1 epoch",
                "splits": ["validation"],
                "batch_size": 180,
                "weights": "raw",
            },
        }
    )
