"""The names of VGG's layers in torchvision's vgg11, vgg13, vgg16 and vgg19, also with `_bn`."""

from cnn_jax.models import vgg

# torchvision's name -> our family and options.
NETWORKS = {
    f"vgg{depth}{suffix}": {
        "name": "vgg",
        "depth": depth,
        "batch_norm": suffix == "_bn",
        "weight_init": "torchvision",
    }
    for depth in vgg.CONVOLUTIONS
    for suffix in ("", "_bn")
}
FLATTENED = ("fc6", vgg.POOLED)


def torch_names(module: vgg.VGG) -> dict[str, str]:
    """Maps the path of each layer to its prefix in torchvision's state dict."""
    names = {}
    position = 0
    for group, count in enumerate(vgg.CONVOLUTIONS[module.depth], 1):
        for i in range(1, count + 1):
            names[f"conv{group}_{i}"] = f"features.{position}"
            if module.batch_norm:
                position += 1
                names[f"bn{group}_{i}"] = f"features.{position}"
            position += 2  # the ReLU follows
        position += 1  # max-pooling
    return names | {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
