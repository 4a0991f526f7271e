"""ResNet-18 on a folder of images, streamed: the shortest recipe with the whole path of ImageNet.

Paper      He et al. (2016), arXiv:1512.03385, the network of Table 1; the recipe is not a paper's
Command    python launch.py train --config=experiments/resnet/folder.py --config.data.path=FOLDER
           FOLDER: {train,test}/<class>/*, {train,val}/<class>/*, or <class>/* alone
Expected   a small folder is learnt by heart: of 500 images of ImageNet, one of each of 500 classes,
           less than 1 % are wrong in the end ("train_evaluated"); not run to its end yet
Hardware   two CPU cores
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cnn_jax.config import choose

VARIANTS = {"recipe": ("folder",)}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe; it has no variants."""
    choose(variant, VARIANTS)
    view = {"size": 64, "frame": "whole", "filters": ["bilinear"], "dct_scaling": True}
    return ConfigDict(
        {
            "seed": 0,
            "model": {"name": "resnet", "depth": 18},
            "data": {
                "name": "folder",
                "path": placeholder(str),
                "image_size": placeholder(int),
                "validation_size": 0,
                "split_seed": 0,
                "storage": "stream",
                "class_list": placeholder(str),
                "on_error": "skip",
                "decoder": "pillow",
                "threads": 0,
                "workers": 0,
                "prefetch": 2,
            },
            "view": {
                "train": {"kind": "scale_crop", "shorter_side": [64, 72], **view},
                "evaluation": {"kind": "centre", "resize": 68, **view},
            },
            "colour": {
                "brightness": 0.0,
                "contrast": 0.0,
                "saturation": 0.0,
                "hue": 0.0,
                "lighting": 0.0,
                "clip": False,
            },
            "preprocessing": {"mean": "imagenet", "deviation": "imagenet", "whitening": "none"},
            "augmentation": {"crop_padding": 0, "crop_fill": "zero", "flip": True},
            "loss": {"label_smoothing": 0.0, "auxiliary_weight": 0.0},
            "optimizer": {
                "name": "momentum",
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 1e-4,
                "decay": "all",
                "clip_norm": placeholder(float),
                "bias_rate": 1.0,
                "rate_inside": False,
            },
            "learning_rate": {
                "schedule": "cosine",
                "rate": 0.02,
                "final_rate": 0.0,
                "warmup": "1 epoch",
                "warmup_shape": "linear",
                "warmup_rate": 0.0,
            },
            "ema": {"decay": 0.0, "ramp": False},
            "precision": {"matmul": "default"},
            "parallel": {"params": "replicated", "seeds": "auto"},
            "training": {
                "duration": "25 epochs",
                "batch_size": 25,
                "accumulate": 1,
                "checkpoint_every": "5 epochs",
                "steps_per_dispatch": 5,
            },
            "evaluation": {
                "every": "5 epochs",
                "splits": ["train"],
                "batch_size": 100,
                "weights": "raw",
            },
        }
    )
