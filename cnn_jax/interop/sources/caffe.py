"""Caffe's networks: BVLC's AlexNet and GoogLeNet, the authors' VGG, ResNet and SqueezeNet.

ONNX files that Caffe2 wrote have the same names, those of ResNet-50 apart.
"""

import re

from cnn_jax import models
from cnn_jax.interop.sources.layout import CAFFE_VGG, IMAGENET, Images, Layout, in_units
from cnn_jax.models import googlenet, squeezenet, vgg

BVLC = Images(227, (104 / 255, 117 / 255, 123 / 255), (1 / 255,) * 3, "bgr")
# {n} is the number of the stage in the paper, {a} the unit's letter: a, b, c, ...
RESNET_UNIT = {
    **{f"conv{i}": f"res{{n}}{{a}}_branch2{letter}" for i, letter in enumerate("abc", 1)},
    **{f"bn{i}": f"bn{{n}}{{a}}_branch2{letter}" for i, letter in enumerate("abc", 1)},
    "shortcut": "res{n}{a}_branch1",
    "shortcut_bn": "bn{n}{a}_branch1",
}
CAFFE2_UNIT = {
    **{f"conv{i}": f"res{{n}}_{{i}}_branch2{letter}" for i, letter in enumerate("abc", 1)},
    **{f"bn{i}": f"res{{n}}_{{i}}_branch2{letter}_bn" for i, letter in enumerate("abc", 1)},
    "shortcut": "res{n}_{i}_branch1",
    "shortcut_bn": "res{n}_{i}_branch1_bn",
}
GOOGLENET = {
    "conv1/7x7_s2": "conv1",
    "conv2/3x3_reduce": "conv2_reduce",
    "conv2/3x3": "conv2",
    **{f"loss{n}/conv": f"auxiliary_4{module}/conv" for n, module in ((1, "a"), (2, "d"))},
}
GOOGLENET_HEADS = {
    "loss3/classifier": "linear",
    **{f"loss{n}/fc": f"auxiliary_4{module}/fc" for n, module in ((1, "a"), (2, "d"))},
    **{
        f"loss{n}/classifier": f"auxiliary_4{module}/classifier"
        for n, module in ((1, "a"), (2, "d"))
    },
}


def layouts() -> list[Layout]:
    """All tables of this file."""
    bvlc = {None: BVLC}
    resnet = {"conv1": "conv1", "bn_conv1": "bn1", "fc1000": "fc"} | in_units(RESNET_UNIT)
    scales = {re.sub("^bn", "scale", theirs): ours for theirs, ours in resnet.items()}
    paper = {"stride_in": "1x1", "ceil_pool": True}
    caffe2 = {"conv1": "conv1", "res_conv1_bn": "bn1", "pred": "fc"} | in_units(CAFFE2_UNIT)
    alexnet = {f"conv{i}": f"conv{i}" for i in range(1, 6)} | FULLY_CONNECTED
    return [
        Layout("Caffe", "alexnet", alexnet, images=bvlc, flattened=("fc6", 6)),
        Layout("Caffe", "googlenet", googlenet_names(), images={None: BVLC._replace(size=224)}),
        Layout("Caffe", "vgg", vgg_names(), images={None: CAFFE_VGG}, flattened=("fc6", 7)),
        *(
            Layout("Caffe", "squeezenet", squeezenet_names(), options=version, images=bvlc)
            for version in SQUEEZENETS
        ),
        Layout("Caffe", "resnet", resnet | scales, options=paper, images={None: CAFFE_VGG}),
        Layout("Caffe2", "resnet", caffe2, options={"stride_in": "1x1"}, images={None: IMAGENET}),
    ]


SQUEEZENETS = ({"version": "1.0", "conv10_padding": 1}, {"version": "1.1"})
FULLY_CONNECTED = {"fc6": "fc6", "fc7": "fc7", "fc8": "fc8"}


def vgg_names() -> dict[str, str]:
    """The paper's, as ours."""
    counts = vgg.CONVOLUTIONS[19]
    names = [f"conv{g}_{i}" for g, count in enumerate(counts, 1) for i in range(1, count + 1)]
    return {name: name for name in names} | FULLY_CONNECTED


def squeezenet_names() -> dict[str, str]:
    """The authors', as ours."""
    ours = models.create("squeezenet", num_classes=1000)
    parts = squeezenet.FireSizes._fields
    names = [f"{fire}/{part}" for fire in ours.fires() for part in parts]
    return {name: name for name in ("conv1", *names, "conv10")}


def googlenet_names() -> dict[str, str]:
    """Convolutions are units of ours, with a bias in place of a batch norm."""
    units = dict(GOOGLENET)
    for module in googlenet.TABLE_1:
        parts = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
        units |= {f"{module}/{part}": f"{module}/{part}" for part in parts}
    return {theirs: f"{ours}/conv" for theirs, ours in units.items()} | GOOGLENET_HEADS
