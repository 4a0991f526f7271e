"""The published sizes of networks by their options; `launch.py summary` compares with them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from cnn_jax import models
from cnn_jax.interop import torchvision

from .alexnet import published as alexnet
from .deep_compression import published as deep_compression
from .googlenet import published as googlenet
from .inception_v3 import published as inception_v3
from .resnet import published as resnet
from .squeezenet import published as squeezenet
from .vgg import published as vgg
from .wide_resnet import published as wide_resnet

# Options that change neither parameters nor multiply-adds.
NEUTRAL = {
    *("bn_group_size", "unroll", "dtype", "dropout", "auxiliary_dropout", "gamma", "residual"),
    *("bn_momentum", "bn_epsilon", "count_include_pad", "init_fan", "weight_init", "kernel_init"),
    *("zero_init_gamma", "death_rate", "ceil_pool", "remat", "logits_relu"),
}


class Size(NamedTuple):
    """One published number."""

    options: dict[str, Any]  # the arguments of `models.create` that are not the defaults
    num_classes: int
    image: int  # height and width
    quantity: str  # "parameters" or "multiply_adds"
    value: float
    source: str


def find(options: dict[str, Any], num_classes: int, image: int) -> list[Size]:
    """The published numbers of a network; `options` has the family as "name"."""
    return [
        size
        for size in sizes()
        if size.num_classes == num_classes
        and (size.image == image or (size.quantity == "parameters" and any_image(options)))
        and essence(size.options) == essence(options)
    ]


def any_image(options: dict[str, Any]) -> bool:
    """Whether the parameters are the same for images of any size."""
    return options["name"] != "lenet"


def essence(options: dict[str, Any]) -> dict[str, Any]:
    """All options that decide the size of a network, including defaults."""
    complete = {**models.options(options["name"]), **options}
    return {name: value for name, value in complete.items() if name not in NEUTRAL}


def sizes() -> Iterator[Size]:
    """Yields every published size."""
    yield from residual()
    yield from wide()
    source, printed = "arXiv:1602.07360, Table 1", squeezenet.TABLE_1_PARAMETERS
    yield Size({"name": "squeezenet"}, 1000, 227, "parameters", printed, source)
    grouped = {"name": "alexnet", "variant": "paper"}
    counted = "counted from Krizhevsky et al. (2012)"
    yield Size(grouped, 1000, 227, "parameters", alexnet.PARAMETERS, counted)
    yield Size(grouped, 1000, 227, "multiply_adds", alexnet.MULTIPLY_ADDS, counted)
    for variant, row in deep_compression.LENETS.items():
        options = {"name": "lenet", "variant": variant}
        source = f"arXiv:1510.00149, Table {row['table']}"
        yield Size(options, 10, 28, "parameters", row["printed"], source)
        counted = "counted from the layers, 28x28x1"
        yield Size(options, 10, 28, "parameters", row["parameters"], counted)
    released = {
        **resnet.TORCHVISION,
        **squeezenet.TORCHVISION,
        **alexnet.TORCHVISION,
        **vgg.TORCHVISION,
        "googlenet": in_units(googlenet.TORCHVISION),
        "inception_v3": in_units(inception_v3.RELEASED_WEIGHTS["torchvision"]),
    }
    for name, row in released.items():
        options, image = torchvision.options(name), 299 if name == "inception_v3" else 224
        yield Size(options, 1000, image, "parameters", row["parameters"], "torchvision")
        operations = round(row["multiply_adds"] * 1e9)
        yield Size(options, 1000, image, "multiply_adds", operations, "torchvision")


def in_units(row: dict[str, Any]) -> dict[str, Any]:
    """Renames the multiply-adds of a row as in the other tables."""
    return {**row, "multiply_adds": row["billion_multiply_adds"]}


def residual() -> Iterator[Size]:
    """arXiv:1512.03385, Tables 1 and 6."""
    for depth, operations in resnet.TABLE_1.items():
        options = {"name": "resnet", "depth": depth}
        yield Size(options, 1000, 224, "multiply_adds", operations, "arXiv:1512.03385, Table 1")
    for (depth, shortcut), row in resnet.COUNTED.items():
        options = {"name": "resnet", "depth": depth, "shortcut": shortcut}
        yield Size(options, 1000, 224, "parameters", row["parameters"], "counted from Table 1")
    for depth, row in resnet.CIFAR_COUNTED.items():
        options = {"name": "cifar_resnet", "depth": depth}
        printed = resnet.TABLE_6[f"ResNet-{depth}"]["parameters"]
        yield Size(options, 10, 32, "parameters", printed, "arXiv:1512.03385, Table 6")
        counted = "counted from section 4.2"
        yield Size(options, 10, 32, "parameters", row["parameters"], counted)
        yield Size(options, 10, 32, "multiply_adds", round(row["multiply_adds"] * 1e6), counted)


def wide() -> Iterator[Size]:
    """arXiv:1605.07146, Table 4."""
    for network, row in wide_resnet.COUNTED.items():
        depth, width = map(int, network.split("-"))
        options = {"name": "wide_resnet", "depth": depth, "width": width}
        if network in wide_resnet.TABLE_4:
            printed = wide_resnet.TABLE_4[network]["parameters"]
            yield Size(options, 10, 32, "parameters", printed, "arXiv:1605.07146, Table 4")
        for classes in (10, 100):
            yield Size(options, classes, 32, "parameters", row[classes], "counted from Table 1")
        operations = round(row["multiply_adds"] * 1e9)
        yield Size(options, 10, 32, "multiply_adds", operations, "counted from Table 1")
