"""torchvision's and timm's networks, which share most names, and Hugging Face's ResNet."""

from types import ModuleType

from cnn_jax import errors, models
from cnn_jax.interop.sources import (
    names_alexnet,
    names_googlenet,
    names_inception_v3,
    names_resnet,
    names_squeezenet,
    names_vgg,
)
from cnn_jax.interop.sources.layout import IMAGENET, INCEPTION, Layout, in_units

FAMILIES = (
    names_alexnet,
    names_googlenet,
    names_inception_v3,
    names_resnet,
    names_squeezenet,
    names_vgg,
)
RESNET = {"stride_in": "3x3", "init_fan": "out"}
# timm's VGG has convolutions on the last map, with these names, in place of linear layers.
TIMM_VGG = {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2", "fc8": "head.fc"}
TIMM_SIDES = {"fc6": 7, "fc7": 1}
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
    others = [name for name in networks() if name not in names_resnet.NETWORKS]
    resnet = table("resnet50")._replace(options=RESNET)  # of all depths and widths
    timm = [timm_vgg(name) for name in names_vgg.NETWORKS]
    return [resnet, *map(table, others), *timm, hugging_face()]


def networks() -> list[str]:
    """torchvision's names of all networks that we have."""
    return sorted(name for family in FAMILIES for name in family.NETWORKS)


def family_of(name: str) -> ModuleType:
    """What knows the names of the layers; raises `UserError` for an unknown network."""
    for family in FAMILIES:
        if name in family.NETWORKS:
            return family
    raise errors.unknown("torchvision network", name, networks())


def table(name: str) -> Layout:
    """The table of torchvision's network of this name, from what says its names of our layers."""
    family = family_of(name)
    options = dict(family.NETWORKS[name])
    ours = models.create(num_classes=1000, **options)
    names = {theirs: layer for layer, theirs in family.torch_names(ours).items()}
    images = {None: INCEPTION if family in (names_googlenet, names_inception_v3) else IMAGENET}
    own = {"flattened": getattr(family, "FLATTENED", None), "images": images}
    return Layout("torchvision", options.pop("name"), names, options=options, **own)


def timm_vgg(name: str) -> Layout:
    """The table of timm's VGG of torchvision's name."""
    layout = table(name)
    ours = {layer: theirs for theirs, layer in layout.names.items()} | TIMM_VGG
    names = {theirs: layer for layer, theirs in ours.items()}
    return layout._replace(source="timm", names=names, convolved=TIMM_SIDES)


def hugging_face() -> Layout:
    """`ResNetForImageClassification` of transformers; `ResNetModel` has shorter names."""
    backbone = HUGGING_FACE_STEM | in_units(HUGGING_FACE_UNIT)
    names = {f"resnet.{theirs}": ours for theirs, ours in backbone.items()}
    names |= {"classifier.1": "fc"} | backbone
    images = {None: IMAGENET}
    return Layout("Hugging Face", "resnet", names, options=RESNET, images=images)
