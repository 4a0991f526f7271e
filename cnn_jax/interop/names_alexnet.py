"""AlexNet's layers beside torchvision's `alexnet`."""

import flax.linen as nn

from cnn_jax import models
from cnn_jax.models import alexnet


def torch_module(name: str, num_classes: int = 1000) -> nn.Module | None:
    """The module for a torchvision name, None for a name of another family."""
    if name != "alexnet":
        return None
    return models.create("alexnet", num_classes=num_classes, variant="one_tower")


def torch_names(module: alexnet.AlexNet) -> dict[str, str]:
    """Path of each layer -> prefix of the same layer in torchvision's state_dict."""
    del module
    return {
        "conv1": "features.0",
        "conv2": "features.3",
        "conv3": "features.6",
        "conv4": "features.8",
        "conv5": "features.10",
        "fc6": "classifier.1",
        "fc7": "classifier.4",
        "fc8": "classifier.6",
    }


def flatten_shape(module: alexnet.AlexNet) -> tuple[str, tuple[int, int, int]]:
    """The linear layer that follows the flattening, and the map [C, H, W] as Torch flattens it.

    Ours is flattened as [H, W, C].
    """
    channels = alexnet.VARIANTS[module.variant].channels[-1]
    return "fc6", (channels, alexnet.POOLED, alexnet.POOLED)
