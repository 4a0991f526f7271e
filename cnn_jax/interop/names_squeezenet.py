"""SqueezeNet's layers beside torchvision's: squeezenet1_0 and squeezenet1_1."""

import flax.linen as nn

from cnn_jax import models
from cnn_jax.models import squeezenet

VERSIONS = {"squeezenet1_0": "1.0", "squeezenet1_1": "1.1"}


def torch_module(name: str, num_classes: int = 1000) -> nn.Module | None:
    """The module for a torchvision name, None for a name of another family."""
    if name not in VERSIONS:
        return None
    return models.create(
        "squeezenet",
        num_classes=num_classes,
        version=VERSIONS[name],
        weight_init="torchvision",
    )


def torch_names(module: squeezenet.SqueezeNet) -> dict[str, str]:
    """Path of each layer -> prefix of the same layer in torchvision's state_dict."""
    names = {"conv1": "features.0"}
    pool_after = squeezenet.VERSIONS[module.version].pool_after
    position = 3  # after conv1, ReLU and pooling
    for fire in module.fires():
        for ours, theirs in [
            ("squeeze1x1", "squeeze"),
            ("expand1x1", "expand1x1"),
            ("expand3x3", "expand3x3"),
        ]:
            names[f"{fire}/{ours}"] = f"features.{position}.{theirs}"
        position += 2 if fire in pool_after else 1
    return names | {"conv10": "classifier.1"}
