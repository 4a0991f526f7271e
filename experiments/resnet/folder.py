"""ResNet-18 on a streamed folder of images: the shortest recipe with all that ImageNet needs.

Paper      He et al. (2016), arXiv:1512.03385, the network of Table 1; the recipe is not a paper's
Command    python launch.py train --config=experiments/resnet/folder.py --config.data.path=FOLDER
           FOLDER: {train,test}/<class>/*, {train,val}/<class>/*, or <class>/* alone
Expected   the network memorizes a small folder: on 500 images of ImageNet, one of each of 500
           classes, the final training error ("train_evaluated") is below 1 %; measured 0.2 %
Hardware   28 minutes of CPU time, on two cores of an AMD EPYC
"""

from ml_collections import ConfigDict

from cnn_jax.config import choose

from .. import groups

VARIANTS = {"recipe": ("folder",)}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe; it has no variants."""
    choose(variant, VARIANTS)
    return ConfigDict(
        {
            **groups.plain(),
            "seed": 0,
            "model": {"name": "resnet", "depth": 18},
            "data": groups.data("folder", None, storage="stream", on_error="skip"),
            "view": {
                "train": groups.scale_crop(64, [64, 72], dct_scaling=True),
                "evaluation": groups.center(64, resize=68, dct_scaling=True),
            },
            "color": groups.color(),
            "preprocessing": {"mean": "imagenet", "std": "imagenet", "whitening": "none"},
            "augmentation": {"crop_padding": 0, "crop_fill": "zero", "flip": True},
            "optimizer": groups.momentum(
                nesterov=True, weight_decay=1e-4, decay="all", rate_inside=False
            ),
            "learning_rate": groups.cosine(0.02, warmup="1 epoch"),
            "training": groups.training(
                "25 epochs", batch_size=25, checkpoint_every="5 epochs", steps_per_dispatch=5
            ),
            "evaluation": groups.evaluation("train", batch_size=100, every="5 epochs"),
        }
    )
