"""What recipes of small images, which lie on the device as a whole, say of views and streams."""

from typing import Any

from ml_collections.config_dict import placeholder

VIEW = {"train": {"kind": "whole"}, "evaluation": {"kind": "whole"}}
COLOUR = {
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
    "lighting": 0.0,
    "clip": False,
}


def data() -> dict[str, Any]:
    """Of the group `data`; with `storage` "stream" the others count, see `cnn_jax.data.open`.

    Made anew for each config, since those that share a placeholder share its value.
    """
    return {
        "storage": "device",
        "class_list": placeholder(str),
        "on_error": "raise",
        "decoder": "pillow",
        "threads": 0,
        "workers": 0,
        "prefetch": 2,
    }
