"""The names of SqueezeNet's layers in torchvision's squeezenet1_0 and squeezenet1_1."""

from cnn_jax.models import squeezenet

# torchvision's name -> our family and options.
NETWORKS = {
    f"squeezenet{version.replace('.', '_')}": {
        "name": "squeezenet",
        "version": version,
        "weight_init": "torchvision",
    }
    for version in squeezenet.VERSIONS
}


def torch_names(module: squeezenet.SqueezeNet) -> dict[str, str]:
    """Maps the path of each layer to its prefix in torchvision's state dict."""
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
