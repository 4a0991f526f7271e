"""ResNets of Flax's example for ImageNet, of jax-resnet and of flaxmodels, and its VGG."""

from cnn_jax.interop.sources.layout import FLAX, FLAXMODELS, IMAGENET, Layout, in_units
from cnn_jax.interop.sources.torch_sources import RESNET
from cnn_jax.models import vgg
from cnn_jax.models.resnet import UNITS

# SAME pads a strided window at the end alone; conv1 and the shortcuts need no padding there.
EXAMPLE = {"stride_in": "3x3", "same_padding": True, "ceil_pool": True}


def layouts() -> list[Layout]:
    """A table for each depth of those that count their blocks over all stages."""
    images = {None: IMAGENET}
    return [
        *(Layout("Flax example", "resnet", example(d), FLAX, EXAMPLE, images) for d in UNITS),
        *(Layout("jax-resnet", "resnet", jax_resnet(d), FLAX, RESNET, images) for d in UNITS),
        Layout("flaxmodels", "resnet", flaxmodels_resnet(), FLAXMODELS, RESNET, images),
        *(
            Layout(
                "flaxmodels", "vgg", flaxmodels_vgg(d), FLAXMODELS, {}, images, flattened=("fc6", 7)
            )
            for d in (16, 19)
        ),
    ]


def example(depth: int) -> dict[str, str]:
    """Names such as "BottleneckResNetBlock_3/Conv_0"."""
    block, counts = UNITS[depth]
    folder = "ResNetBlock" if block == "basic" else "BottleneckResNetBlock"
    names = {"conv_init": "conv1", "bn_init": "bn1", "Dense_0": "fc"}
    for number, ours in enumerate(units(counts)):
        theirs = f"{folder}_{number}"
        for i in range(2 if block == "basic" else 3):
            names[f"{theirs}/Conv_{i}"] = f"{ours}/conv{i + 1}"
            names[f"{theirs}/BatchNorm_{i}"] = f"{ours}/bn{i + 1}"
        names[f"{theirs}/conv_proj"] = f"{ours}/shortcut"
        names[f"{theirs}/norm_proj"] = f"{ours}/shortcut_bn"
    return names


def units(counts: tuple[int, ...]) -> list[str]:
    """All units of a network: "conv2/block1", "conv2/block2", ..."""
    stages = enumerate(counts, 2)
    return [f"conv{stage}/block{u}" for stage, count in stages for u in range(1, count + 1)]


def jax_resnet(depth: int) -> dict[str, str]:
    """Names such as "layers_2/ConvBlock_0/Conv_0": the pool and the mean count, too."""
    block, counts = UNITS[depth]
    blocks = {"layers_0/ConvBlock_0": ("conv1", "bn1")}
    for number, ours in enumerate(units(counts), 2):
        theirs = f"layers_{number}"
        for i in range(2 if block == "basic" else 3):
            blocks[f"{theirs}/ConvBlock_{i}"] = (f"{ours}/conv{i + 1}", f"{ours}/bn{i + 1}")
        shortcut = (f"{ours}/shortcut", f"{ours}/shortcut_bn")
        blocks[f"{theirs}/ResNetSkipConnection_0/ConvBlock_0"] = shortcut
    names = {f"layers_{sum(counts) + 3}": "fc"}
    for theirs, (conv, norm) in blocks.items():
        names |= {f"{theirs}/Conv_0": conv, f"{theirs}/BatchNorm_0": norm}
    return names


def flaxmodels_resnet() -> dict[str, str]:
    """torchvision's weights in HDF5, with the axes in Flax's order."""
    unit = {part: f"layer{{s}}/block{{i}}/{part}" for part in ("conv1", "conv2", "conv3")}
    unit |= {part: f"layer{{s}}/block{{i}}/{part}" for part in ("bn1", "bn2", "bn3")}
    unit["shortcut"] = "layer{s}/block{i}/downsample/conv"
    unit["shortcut_bn"] = "layer{s}/block{i}/downsample/bn"
    return {"conv1": "conv1", "bn1": "bn1", "fc": "fc"} | in_units(unit)


def flaxmodels_vgg(depth: int) -> dict[str, str]:
    """As in the paper, like ours; fc6 takes the channels first, as PyTorch's."""
    counts = enumerate(vgg.CONVOLUTIONS[depth], 1)
    names = [f"conv{group}_{i}" for group, count in counts for i in range(1, count + 1)]
    return {name: name for name in (*names, "fc6", "fc7", "fc8")}
