"""The names of Inception-v3's layers in torchvision's `inception_v3`."""

from cnn_jax.models.inception_blocks import named_steps
from cnn_jax.models.inception_v3 import InceptionV3, architecture

# torchvision's name -> our family and options. Its ported weights are for pixels in [-1, 1], as in
# TensorFlow; its `transform_input=True` maps ImageNet-normalized images to that range.
NETWORKS = {
    "inception_v3": {
        "name": "inception_v3",
        "bn_scale": True,
        "bn_momentum": 0.9,
        "count_include_pad": True,
        "dropout": 0.5,
    }
}

STEM = {
    "Conv2d_1a": "Conv2d_1a_3x3",
    "Conv2d_2a": "Conv2d_2a_3x3",
    "Conv2d_2b": "Conv2d_2b_3x3",
    "Conv2d_3b": "Conv2d_3b_1x1",
    "Conv2d_4a": "Conv2d_4a_3x3",
}

# The convolutions of all branches, in order, for each kind of module.
_35 = "branch1x1 branch5x5_1 branch5x5_2 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3 branch_pool"
_17 = (
    "branch1x1 branch7x7_1 branch7x7_2 branch7x7_3 branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 "
    "branch7x7dbl_4 branch7x7dbl_5 branch_pool"
)
_8 = (
    "branch1x1 branch3x3_1 branch3x3_2a branch3x3_2b branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a "
    "branch3x3dbl_3b branch_pool"
)
_TO_17 = "branch3x3 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3"
_TO_8 = "branch3x3_1 branch3x3_2 branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4"
MODULES = {
    **dict.fromkeys(["Mixed_5b", "Mixed_5c", "Mixed_5d"], _35),
    "Mixed_6a": _TO_17,
    **dict.fromkeys(["Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"], _17),
    "Mixed_7a": _TO_8,
    **dict.fromkeys(["Mixed_7b", "Mixed_7c"], _8),
}

AUXILIARY = {"Conv2d_1b_1x1": "conv0", "Conv2d_2a_5x5": "conv1"}


def torch_names(module: InceptionV3) -> dict[str, str]:
    """Maps the path of each layer with parameters to its prefix in torchvision's state dict."""
    units = dict(STEM)
    for name, content in architecture("released", True, 299).items():
        if name in MODULES:
            units |= zip(_convolutions(name, content), _prefixes(name), strict=True)
    names = {"fc": "fc"}
    if module.auxiliary == "bn":
        units |= {f"AuxLogits/{ours}": f"AuxLogits.{its}" for ours, its in AUXILIARY.items()}
        names["AuxLogits/fc"] = "AuxLogits.fc"
    for ours, its in units.items():
        names[f"{ours}/conv"] = f"{its}.conv"
        names[f"{ours}/bn"] = f"{its}.bn"
    return names


def _convolutions(module: str, branches: tuple) -> list[str]:
    return [
        f"{module}/Branch_{i}/{name}"
        for i, branch in enumerate(branches)
        for parallel in named_steps(branch)
        for name, _ in parallel
        if name.startswith("Conv2d")
    ]


def _prefixes(module: str) -> list[str]:
    return [f"{module}.{unit}" for unit in MODULES[module].split()]
