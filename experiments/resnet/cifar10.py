"""He et al. (2016), arXiv:1512.03385, section 4.2 and Table 6: depth against error on CIFAR-10.

Command    python launch.py train --config=experiments/resnet/cifar10.py:20 --config.data.path=CIFAR
           CIFAR: the folder of cifar-10-binary.tar.gz, or a folder {train,test}/<class>/*.png
Variants   depth 20 (default), 32, 44, 56, 110, 1202; `plain` removes the shortcuts;
           `fast` is a short recipe for small budgets, as in `cifar10.py:20,fast`
Expected   test error at the last step, Table 6: 8.75, 7.51, 7.17, 6.97, 6.61 +- 0.16 (mean of five;
           best 6.43) and 7.93 %; within 0.5 counts as reproduced. `20,fast`: see the README
Hardware   two CPU cores take half an hour for `20,fast`, and about seven hours for 64,000 steps of
           ResNet-20 (from its images per second); deeper networks want an accelerator
Departures 110 layers warm up for 400 steps (the paper: until the training error is below 80 %,
           "about 400 iterations"), and 1202 do the same (the paper does not say)
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cnn_jax.config import choose

VARIANTS = {
    "depth": ("20", "32", "44", "56", "110", "1202"),
    "network": ("residual", "plain"),
    "recipe": ("paper", "fast"),
}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe of section 4.2, or a short one."""
    chosen = choose(variant, VARIANTS)
    depth = int(chosen["depth"])
    config = ConfigDict(
        {
            "seed": 0,
            "model": {
                "name": "cifar_resnet",
                "depth": depth,
                "residual": chosen["network"] == "residual",
                "bn_group_size": 64,  # 128 images on two GPUs
            },
            "data": {
                "name": "cifar10",
                "path": "data/cifar10",
                "image_size": placeholder(int),
                "validation_size": 0,  # the paper chose its schedule with 5000, then trained on all
                "split_seed": 0,
                "storage": "device",
                "class_list": placeholder(str),
                "on_error": "raise",
                "decoder": "pillow",
                "threads": 0,
                "workers": 0,
                "prefetch": 2,
            },
            "view": {"train": {"kind": "whole"}, "evaluation": {"kind": "whole"}},
            "colour": {
                "brightness": 0.0,
                "contrast": 0.0,
                "saturation": 0.0,
                "hue": 0.0,
                "lighting": 0.0,
                "clip": False,
            },
            "preprocessing": {"mean": "pixel", "deviation": "none", "whitening": "none"},
            "augmentation": {"crop_padding": 4, "crop_fill": "zero", "flip": True},
            "loss": {"label_smoothing": 0.0, "auxiliary_weight": 0.0},
            "optimizer": {
                "name": "momentum",
                "momentum": 0.9,
                "nesterov": False,
                "weight_decay": 1e-4,
                "decay": "all",
                "clip_norm": placeholder(float),
                "bias_rate": 1.0,
                "rate_inside": True,
            },
            "learning_rate": {
                "schedule": "step",
                "rate": 0.1,
                "drops": ["32000 steps", "48000 steps"],
                "factor": 0.1,
                "warmup": "400 steps" if depth >= 110 else "0 steps",
                "warmup_shape": "constant",
                "warmup_rate": 0.01,
            },
            "ema": {"decay": 0.0, "ramp": False},
            "precision": {"matmul": "default"},
            "parallel": {"params": "replicated", "seeds": "auto"},
            "training": {
                "duration": "64000 steps",
                "batch_size": 128,
                "accumulate": 1,
                "checkpoint_every": "1 epoch",
                "steps_per_dispatch": 10,
            },
            # Plotted by the epoch as in the paper's Figure 6; nothing is chosen by it.
            "evaluation": {
                "every": "1 epoch",
                "splits": ["test"],
                "batch_size": 500,
                "weights": "raw",
            },
        }
    )
    if chosen["recipe"] == "fast":
        config.model.bn_group_size = None
        config.preprocessing.update(mean="channel", deviation="channel")
        config.optimizer.update(nesterov=True, weight_decay=5e-4, rate_inside=False)
        config.learning_rate = ConfigDict(
            {
                "schedule": "cosine",
                "rate": 0.2,
                "final_rate": 0.0,
                "warmup": "1 epoch",
                "warmup_shape": "linear",
                "warmup_rate": 0.0,
            }
        )
        config.training.duration = "10 epochs"
    return config
