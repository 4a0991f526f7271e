"""The names of AlexNet's layers in torchvision's `alexnet`."""

from cnn_jax.models import alexnet

# torchvision's name -> our family and options.
NETWORKS = {"alexnet": {"name": "alexnet", "variant": "one_tower"}}
FLATTENED = ("fc6", alexnet.POOLED)


def torch_names(module: alexnet.AlexNet) -> dict[str, str]:
    """Maps the path of each layer to its prefix in torchvision's state dict."""
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
