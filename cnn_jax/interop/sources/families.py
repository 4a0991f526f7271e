"""The options of a network from the shapes of its arrays, for each family of ours.

Shapes are by paths such as "conv2/block1/conv1/kernel", with each unit of a stage on its own. A
function returns what differs from the family's defaults, and raises `Unfit` where no option fits.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from cnn_jax import models
from cnn_jax.models import alexnet, resnet, squeezenet, vgg

Shapes = Mapping[str, tuple[int, ...]]


class Unfit(Exception):
    """Why no network of the family has these shapes; `count`: how many arrays do not fit."""

    def __init__(self, why: str, count: float = float("inf")):
        super().__init__(why)
        self.count = count


class Missing(Unfit):
    """An array without which the options cannot be told."""

    def __init__(self, path: str):
        super().__init__(f"it lacks {path}", 1)
        self.path = path


def options(family: str, shapes: Shapes) -> dict[str, Any]:
    """The options of the family's network with these shapes, as far as they are not defaults."""
    for path, shape in shapes.items():
        if path.endswith("/kernel") and len(shape) not in (2, 4):
            raise Unfit(f"{path} is {list(shape)}, and a kernel has two axes or four")
    known = models.options(family)
    found = FUNCTIONS[family](shapes)
    return {name: value for name, value in found.items() if value != known[name]}


def shape_of(shapes: Shapes, layer: str) -> tuple[int, ...]:
    """Of a layer's kernel."""
    if f"{layer}/kernel" not in shapes:
        raise Missing(f"{layer}/kernel")
    return shapes[f"{layer}/kernel"]


def units(shapes: Shapes, stage: str) -> int:
    """How many units a stage has: the highest number of one."""
    numbers = (re.match(rf"{stage}/block(\d+)/", path) for path in shapes)
    return max((int(found[1]) for found in numbers if found), default=0)


def usual(shapes: Shapes, layer: str, of: Callable[[int, tuple[int, ...]], float]) -> float:
    """What most units of a network have in common, so that one wrong array is seen as such.

    Args:
      layer: of a unit, such as "conv1".
      of: gives a number for the stage, from 0, and the shape of the layer's kernel.
    """
    found = {}
    for path, shape in shapes.items():
        if match := re.fullmatch(rf"conv(\d)/block\d+/{layer}/kernel", path):
            number = of(int(match[1]) - 2, shape)
            found[number] = found.get(number, 0) + 1
    if not found:
        raise Missing(f"conv2/block1/{layer}/kernel")
    return max(found, key=found.__getitem__)


def has(shapes: Shapes, layer: str) -> bool:
    """Whether there is any array of a layer; "*" stands for a part of its path."""
    pattern = re.compile(layer.replace("*", "[^/]+") + "/")
    return any(pattern.match(path) for path in shapes)


def read_resnet(shapes: Shapes) -> dict[str, Any]:
    """Depth, widths and groups; the kind of the shortcuts."""
    block = "bottleneck" if has(shapes, "*/*/conv3") else "basic"
    counts = tuple(units(shapes, stage) for stage, _, _ in resnet.STAGES)
    depths = [depth for depth, units_of in resnet.UNITS.items() if units_of == (block, counts)]
    if not depths:
        listed = ", ".join(map(str, counts))
        raise Unfit(f"its stages have {listed} {block} units, and no depth of ours has these")
    last, expansion = ("conv3", 4) if block == "bottleneck" else ("conv2", 1)
    width = usual(shapes, last, lambda stage, kernel: kernel[-1] / (64 * expansion * 2**stage))
    inner = usual(shapes, "conv1", lambda stage, kernel: kernel[-1] / (64 * 2**stage))
    groups = usual(shapes, "conv2", lambda stage, kernel: kernel[-1] // max(1, kernel[-2]))
    projected, everywhere = has(shapes, "*/block1/shortcut"), has(shapes, "*/block2/shortcut")
    return {
        "depth": depths[0],
        "width": width,
        "inner_width": inner / width if block == "bottleneck" else 1.0,
        "groups": int(groups) if block == "bottleneck" else 1,
        "shortcut": "C" if everywhere else "B" if projected else "A",
        "preactivation": has(shapes, "bn"),
        "small_input": shape_of(shapes, "conv1")[0] == 3,
    }


def read_cifar_resnet(shapes: Shapes) -> dict[str, Any]:
    """Depth and block; the kind of the shortcuts."""
    block = "bottleneck" if has(shapes, "*/*/conv3") else "basic"
    counts = {units(shapes, stage) for stage in ("conv2", "conv3", "conv4")}
    if len(counts) > 1 or 0 in counts:
        raise Unfit(f"its three stages have {sorted(counts)} units, and ours as many in each")
    if (channels := shape_of(shapes, "conv1")[-1]) != 16:
        raise Unfit(f"its first layer has {channels} channels, and ours 16")
    layers = 3 if block == "bottleneck" else 2
    projected = "B" if has(shapes, "*/block1/shortcut") else "A"
    return {
        "depth": 3 * layers * counts.pop() + 2,
        "block": block,
        "shortcut": None if projected == ("B" if block == "bottleneck" else "A") else projected,
        "order": "full pre-activation" if has(shapes, "bn") else "original",
    }


def read_wide_resnet(shapes: Shapes) -> dict[str, Any]:
    """Depth and width."""
    count = units(shapes, "conv2")
    if not count:
        raise Unfit("it has no units")
    convolutions = sum(has(shapes, f"*/*/conv{i}") for i in range(1, 6))
    width = usual(shapes, "conv1", lambda stage, kernel: kernel[-1] // (16 * 2**stage))
    return {
        "depth": 3 * convolutions * count + 4,
        "width": int(width),
        "deepening": convolutions,
    }


def read_vgg(shapes: Shapes) -> dict[str, Any]:
    """Depth, and whether there are batch norms."""
    counts = tuple(sum(has(shapes, f"conv{g}_{i}") for i in range(1, 5)) for g in range(1, 6))
    depths = [depth for depth, numbers in vgg.CONVOLUTIONS.items() if numbers == counts]
    if not depths:
        raise Unfit(f"its groups have {', '.join(map(str, counts))} convolutions; no VGG has these")
    pointwise = has(shapes, "conv3_3") and shape_of(shapes, "conv3_3")[0] == 1
    hidden = shapes.get("fc6/kernel", (0, 4096))
    return {
        "depth": depths[0],
        "conv1x1": pointwise,
        "batch_norm": has(shapes, "bn*"),
        "fc_width": hidden[-1],
    }


def read_alexnet(shapes: Shapes) -> dict[str, Any]:
    """The variant; "paper" and "caffe" have the same shapes, and people have Caffe's."""
    channels, grouped = shape_of(shapes, "conv1")[-1], shape_of(shapes, "conv2")[2]
    for name in ("one_tower", "caffe"):
        variant = alexnet.VARIANTS[name]
        first = variant.channels[0]
        if (first, first // variant.groups) == (channels, grouped):
            return {"variant": name, "fc_width": shapes.get("fc6/kernel", (0, 4096))[-1]}
    raise Unfit(f"conv1 has {channels} channels, of which a filter of conv2 sees {grouped}")


def read_squeezenet(shapes: Shapes) -> dict[str, Any]:
    """Version and bypass."""
    kernel = shape_of(shapes, "conv1")
    for name, version in squeezenet.VERSIONS.items():
        if kernel[0] == version.conv1_kernel and kernel[-1] == version.conv1_channels:
            bypass = "complex" if has(shapes, "*/bypass") else "none"
            return {"version": name, "bypass": bypass}
    raise Unfit(f"conv1/kernel is {list(kernel)}; no version has this")


def read_googlenet(shapes: Shapes) -> dict[str, Any]:
    """The variant, and whether the auxiliary classifiers are there."""
    is_torchvision = has(shapes, "*/bn")
    return {
        "variant": "torchvision" if is_torchvision else "paper",
        "auxiliary": has(shapes, "auxiliary_4a"),
    }


def read_inception_v3(shapes: Shapes) -> dict[str, Any]:
    """Whether batch norms have a scale, and whether the auxiliary head is there."""
    auxiliary = "bn" if has(shapes, "AuxLogits") else "none"
    return {"auxiliary": auxiliary, "bn_scale": any(path.endswith("/scale") for path in shapes)}


FUNCTIONS: dict[str, Callable[[Shapes], dict[str, Any]]] = {
    "alexnet": read_alexnet,
    "cifar_resnet": read_cifar_resnet,
    "googlenet": read_googlenet,
    "inception_v3": read_inception_v3,
    "resnet": read_resnet,
    "squeezenet": read_squeezenet,
    "vgg": read_vgg,
    "wide_resnet": read_wide_resnet,
}
