"""The names of GoogLeNet's layers in torchvision's `googlenet`."""

from cnn_jax.models.googlenet import TABLE_1, GoogLeNet

# torchvision's name -> our family and options. Its weights are for pixels in [-1, 1], as in
# `names_inception_v3`.
NETWORKS = {"googlenet": {"name": "googlenet", "variant": "torchvision", "dropout": 0.2}}

STEM = {"conv1": "conv1", "conv2_reduce": "conv2", "conv2": "conv3"}
BRANCHES = {
    "1x1": "branch1",
    "3x3_reduce": "branch2.0",
    "3x3": "branch2.1",
    "5x5_reduce": "branch3.0",
    "5x5": "branch3.1",
    "pool_proj": "branch4.1",
}
AUXILIARY = {"auxiliary_4a": "aux1", "auxiliary_4d": "aux2"}


def torch_names(module: GoogLeNet) -> dict[str, str]:
    """Maps the path of each layer with parameters to its prefix in torchvision's state dict."""
    units = dict(STEM)
    for block in TABLE_1:
        prefix = block.replace("inception_", "inception")
        units |= {f"{block}/{ours}": f"{prefix}.{its}" for ours, its in BRANCHES.items()}
    names = {"linear": "fc"}
    if module.auxiliary:
        for ours, its in AUXILIARY.items():
            units[f"{ours}/conv"] = f"{its}.conv"
            names[f"{ours}/fc"] = f"{its}.fc1"
            names[f"{ours}/classifier"] = f"{its}.fc2"
    for ours, its in units.items():
        names[f"{ours}/conv"] = f"{its}.conv"
        names[f"{ours}/bn"] = f"{its}.bn"
    return names
