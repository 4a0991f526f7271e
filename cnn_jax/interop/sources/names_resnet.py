"""The names of the residual networks and of their layers in torchvision."""

from cnn_jax.interop.sources.layout import in_units
from cnn_jax.models.resnet import ResNet

# torchvision's name -> our family and options.
_COMMON = {"name": "resnet", "stride_in": "3x3", "init_fan": "out"}
NETWORKS = {
    **{f"resnet{depth}": {**_COMMON, "depth": depth} for depth in (18, 34, 50, 101, 152)},
    **{
        f"wide_resnet{depth}_2": {**_COMMON, "depth": depth, "inner_width": 2.0}
        for depth in (50, 101)
    },
    "resnext50_32x4d": {**_COMMON, "depth": 50, "inner_width": 2.0, "groups": 32},
    "resnext101_32x8d": {**_COMMON, "depth": 101, "inner_width": 4.0, "groups": 32},
}
UNIT = {
    **{f"{kind}{i}": f"layer{{s}}.{{i}}.{kind}{i}" for i in (1, 2, 3) for kind in ("conv", "bn")},
    "shortcut": "layer{s}.{i}.downsample.0",
    "shortcut_bn": "layer{s}.{i}.downsample.1",
}


def torch_names(module: ResNet) -> dict[str, str]:
    """Maps the path of each layer ("conv2/block1/conv1") to its prefix ("layer1.0.conv1").

    The units of all stages, as many as any network has.
    """
    del module
    units = {ours: theirs for theirs, ours in in_units(UNIT).items()}
    return {"conv1": "conv1", "bn1": "bn1", **units, "fc": "fc"}
