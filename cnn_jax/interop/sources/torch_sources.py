"""torchvision's and timm's networks, which share most names, and Hugging Face's ResNet."""

from typing import Any

from cnn_jax import models
from cnn_jax.interop.sources import (
    names_alexnet,
    names_googlenet,
    names_inception_v3,
    names_squeezenet,
    names_vgg,
)
from cnn_jax.interop.sources.layout import IMAGENET, INCEPTION, Layout, in_units

RESNET = {"stride_in": "3x3", "init_fan": "out"}
RESNET_UNIT = {
    **{part: f"layer{{s}}.{{i}}.{part}" for part in ("conv1", "conv2", "conv3")},
    **{part: f"layer{{s}}.{{i}}.{part}" for part in ("bn1", "bn2", "bn3")},
    "shortcut": "layer{s}.{i}.downsample.0",
    "shortcut_bn": "layer{s}.{i}.downsample.1",
}
# timm's VGG has convolutions on the last map, with these names, in place of linear layers.
TIMM_VGG = {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2", "fc8": "head.fc"}
HUGGING_FACE_UNIT = {
    **{
        f"conv{i}": f"encoder.stages.{{t}}.layers.{{i}}.layer.{i - 1}.convolution"
        for i in (1, 2, 3)
    },
    **{
        f"bn{i}": f"encoder.stages.{{t}}.layers.{{i}}.layer.{i - 1}.normalization"
        for i in (1, 2, 3)
    },
    "shortcut": "encoder.stages.{t}.layers.{i}.shortcut.convolution",
    "shortcut_bn": "encoder.stages.{t}.layers.{i}.shortcut.normalization",
}
HUGGING_FACE_STEM = {
    "embedder.embedder.convolution": "conv1",
    "embedder.embedder.normalization": "bn1",
}


def layouts() -> list[Layout]:
    """All tables of this file."""
    stem = {"conv1": "conv1", "bn1": "bn1", "fc": "fc"}
    names = stem | in_units(RESNET_UNIT)
    images = {None: IMAGENET}
    found = [Layout("torchvision", "resnet", names, options=RESNET, images=images)]
    found += [_vgg("torchvision", name, {}) for name in names_vgg.NETWORKS]
    found += [_vgg("timm", name, TIMM_VGG) for name in names_vgg.NETWORKS]
    found += [_of(names_squeezenet, name) for name in names_squeezenet.NETWORKS]
    found += [_of(names_alexnet, "alexnet", flattened=("fc6", 6))]
    for family in (names_googlenet, names_inception_v3):
        (name,) = family.NETWORKS
        found.append(_of(family, name, images={None: INCEPTION}))
    return [*found, hugging_face()]


def hugging_face() -> Layout:
    """`ResNetForImageClassification` of transformers; `ResNetModel` has shorter names."""
    backbone = HUGGING_FACE_STEM | in_units(HUGGING_FACE_UNIT)
    names = {f"resnet.{theirs}": ours for theirs, ours in backbone.items()}
    names |= {"classifier.1": "fc"} | backbone
    images = {None: IMAGENET}
    return Layout("Hugging Face", "resnet", names, options=RESNET, images=images)


def _of(family: Any, name: str, **others: Any) -> Layout:
    """The table of torchvision's network of this name, from what says its names of our layers."""
    options = dict(family.NETWORKS[name])
    ours = models.create(num_classes=1000, **options)
    names = {theirs: layer for layer, theirs in family.torch_names(ours).items()}
    others = {"images": {None: IMAGENET}} | others
    return Layout("torchvision", options.pop("name"), names, options=options, **others)


def _vgg(source: str, name: str, renamed: dict[str, str]) -> Layout:
    layout = _of(names_vgg, name, flattened=("fc6", 7))
    ours = {layer: theirs for theirs, layer in layout.names.items()} | renamed
    return layout._replace(source=source, names={theirs: layer for layer, theirs in ours.items()})
