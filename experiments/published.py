"""The published sizes of networks by their options; `launch.py summary` compares with them."""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

from cnn_jax import models
from cnn_jax.interop import torchvision

from .alexnet import published as alexnet
from .bn_inception import published as bn_inception
from .deep_compression import published as deep_compression
from .googlenet import published as googlenet
from .inception_v3 import published as inception_v3
from .preactivation import published as preactivation
from .resnet import published as resnet
from .squeezenet import published as squeezenet
from .vgg import published as vgg
from .wide_resnet import published as wide_resnet

# Options that change neither parameters nor multiply-adds.
NEUTRAL = {
    *("bn_group_size", "unroll", "dtype", "dropout", "auxiliary_dropout", "gamma", "residual"),
    *("bn_momentum", "bn_epsilon", "count_include_pad", "init_fan", "weight_init", "kernel_init"),
    *("zero_init_gamma", "death_rate", "ceil_pool", "remat", "logits_relu", "fully_convolutional"),
    *("shortcut_scale", "residual_scale", "shortcut_dropout", "gate_bias"),
}
# Options that change multiply-adds alone.
PLACES = {"stride_in", "conv10_padding"}


class Size(NamedTuple):
    """One published number."""

    options: dict[str, Any]  # the arguments of `models.create` that are not the defaults
    num_classes: int
    image: int  # height and width
    quantity: str  # "parameters" or "multiply_adds"
    value: float
    source: str
    auxiliary: bool = True  # whether auxiliary heads are counted

    def __str__(self) -> str:
        heads = "" if self.auxiliary else " without auxiliary heads"
        return f"{self.value:,.0f}{heads}"


def find(options: dict[str, Any], num_classes: int, image: int) -> list[Size]:
    """The published numbers of a network; `options` has the family as "name"."""
    return [
        size
        for size in known()
        if size.num_classes == num_classes
        and size.options["name"] == options["name"]
        and (size.image == image or (size.quantity == "parameters" and any_image(options)))
        and essence(size.options, size.quantity) == essence(options, size.quantity)
    ]


def any_image(options: dict[str, Any]) -> bool:
    """Whether the parameters are the same for images of any size."""
    return options["name"] != "lenet"


def essence(options: dict[str, Any], quantity: str) -> dict[str, Any]:
    """All options that decide a quantity of a network, including defaults."""
    complete = {**models.options(options["name"]), **options}
    without = NEUTRAL | PLACES if quantity == "parameters" else NEUTRAL
    return {name: value for name, value in complete.items() if name not in without}


@functools.cache
def known() -> tuple[Size, ...]:
    """Every published size: those that are printed before those that we counted."""
    return tuple(sorted(sizes(), key=lambda size: size.source.startswith("counted")))


def sizes() -> Iterator[Size]:
    """Yields every published size."""
    for of_papers in (residual, preactivated, wide, wide_on_imagenet, squeeze, inception, older):
        yield from of_papers()
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
        # Its parameters of Inception-v3 include the auxiliary head, those of GoogLeNet do not.
        source, heads = "torchvision", name != "googlenet"
        yield Size(options, 1000, image, "parameters", row["parameters"], source, heads)
        operations = round(row["multiply_adds"] * 1e9)
        yield Size(options, 1000, image, "multiply_adds", operations, source, False)


def in_units(row: dict[str, Any]) -> dict[str, Any]:
    """Renames the multiply-adds of a row as in the other tables."""
    return {**row, "multiply_adds": row["billion_multiply_adds"]}


def residual() -> Iterator[Size]:
    """arXiv:1512.03385, Tables 1 and 6; stochastic depth has the same networks."""
    for depth, operations in resnet.TABLE_1.items():
        # The text of arXiv:1603.05027 moves a batch norm of ResNet-101, which costs nothing.
        for order in ("original", "BN after addition"):
            options = {"name": "resnet", "depth": depth, "order": order}
            yield Size(options, 1000, 224, "multiply_adds", operations, "arXiv:1512.03385, Table 1")
    for (depth, shortcut), row in resnet.COUNTED.items():
        options = {"name": "resnet", "depth": depth, "shortcut": shortcut}
        yield Size(options, 1000, 224, "parameters", row["parameters"], "counted from Table 1")
    for depth, row in resnet.CIFAR_COUNTED.items():
        printed = resnet.TABLE_6[f"ResNet-{depth}"]["parameters"]
        counts = {10: row["parameters"]}
        if depth in resnet.CIFAR_COUNTED_100_CLASSES:
            counts[100] = resnet.CIFAR_COUNTED_100_CLASSES[depth]
        for shortcut in (None, "average"):
            options = {"name": "cifar_resnet", "depth": depth, "shortcut": shortcut}
            counted = "counted from section 4.2"
            for classes, count in counts.items():
                yield Size(options, classes, 32, "parameters", printed, "arXiv:1512.03385, Table 6")
                yield Size(options, classes, 32, "parameters", count, counted)
            yield Size(options, 10, 32, "multiply_adds", round(row["multiply_adds"] * 1e6), counted)


def preactivated() -> Iterator[Size]:
    """arXiv:1603.05027, Table 4, to whose precision every order of Table 2 has as many."""
    source = "arXiv:1603.05027, Table 4"
    tables = {10: preactivation.TABLE_4_CIFAR10, 100: preactivation.TABLE_4_CIFAR100}
    printed = {
        110: tables[10]["ResNet-110"]["parameters"],
        164: tables[10]["pre-activation ResNet-164"]["parameters"],
        1001: tables[10]["pre-activation ResNet-1001"]["parameters"],
    }
    for depth, parameters in printed.items():
        block = "basic" if depth == 110 else "bottleneck"
        for order in preactivation.TABLE_2:
            options = {"name": "cifar_resnet", "depth": depth, "block": block, "order": order}
            for classes in tables:
                yield Size(options, classes, 32, "parameters", parameters, source)
    single = {"name": "cifar_resnet", "depth": 110, "block": "single"}
    for order in ("original", "full pre-activation"):
        count = preactivation.COUNTED[110, 10]  # of pairs of layers; a layer has as many
        yield Size(single | {"order": order}, 10, 32, "parameters", count, "counted from Table 3")
    for (depth, classes), count in preactivation.COUNTED.items():
        block = "basic" if depth == 110 else "bottleneck"
        options = {"name": "cifar_resnet", "depth": depth, "block": block}
        options |= {"order": "full pre-activation"}
        yield Size(options, classes, 32, "parameters", count, "counted from the appendix")


def wide() -> Iterator[Size]:
    """arXiv:1605.07146, Tables 2 to 4."""
    for block, row in wide_resnet.TABLE_2.items():
        options = {"name": "wide_resnet", "depth": row["depth"], "width": 2, "block": block}
        printed = "arXiv:1605.07146, Table 2"
        yield Size(options, 10, 32, "parameters", row["parameters"], printed)
        count = wide_resnet.TABLE_2_COUNTED[block]
        yield Size(options, 10, 32, "parameters", count, "counted from Table 2")
    for deepening, count in wide_resnet.TABLE_3_COUNTED.items():
        options = {"name": "wide_resnet", "depth": 40, "width": 2, "deepening": deepening}
        yield Size(options, 10, 32, "parameters", count, "counted from Table 3")
    for network, row in wide_resnet.COUNTED.items():
        depth, width = map(int, network.split("-"))
        options = {"name": "wide_resnet", "depth": depth, "width": width}
        for classes in (10, 100):
            if network in wide_resnet.TABLE_4:
                printed = wide_resnet.TABLE_4[network]["parameters"]
                source = "arXiv:1605.07146, Table 4"
                yield Size(options, classes, 32, "parameters", printed, source)
            yield Size(options, classes, 32, "parameters", row[classes], "counted from Table 1")
        operations = round(row["multiply_adds"] * 1e9)
        yield Size(options, 10, 32, "multiply_adds", operations, "counted from Table 1")


def wide_on_imagenet() -> Iterator[Size]:
    """arXiv:1605.07146, Tables 7 and 8, whose thin networks are those of fb.resnet.torch."""
    for (depth, width), row in wide_resnet.TABLE_7.items():
        options = {"name": "resnet", "depth": depth, "width": width}
        for batch_norm in (True, False) if width == 1 else (True,):
            own = options | {"shortcut_bn": batch_norm}
            source = "arXiv:1605.07146, Table 7"
            yield Size(own, 1000, 224, "parameters", row["parameters"], source)
        count = wide_resnet.TABLE_7_COUNTED[depth, width]
        yield Size(options, 1000, 224, "parameters", count, "counted from Table 7")
    networks = {
        "ResNet-50": {"depth": 50},
        "ResNet-101": {"depth": 101},
        "ResNet-152": {"depth": 152},
        "WRN-50-2-bottleneck": {"depth": 50, "inner_width": 2.0},
        "pre-ResNet-200": {"depth": 200, "preactivation": True},
    }
    for name, own in networks.items():
        printed, source = wide_resnet.TABLE_8[name]["parameters"], "arXiv:1605.07146, Table 8"
        # The README of fb.resnet.torch, which the table repeats, moves a batch norm of ResNet-50.
        for order in ("original", "BN after addition") if len(own) == 1 else ("original",):
            options = {"name": "resnet", **own, "order": order}
            yield Size(options, 1000, 224, "parameters", printed, source)


def squeeze() -> Iterator[Size]:
    """arXiv:1602.07360, Tables 1 and 3 and Figure 3; its megabytes are MiB of 4-byte parameters."""
    paper = "arXiv:1602.07360"
    for bypass in ("none", "simple"):
        options = {"name": "squeezenet", "bypass": bypass}
        printed = squeezenet.TABLE_1_PARAMETERS
        yield Size(options, 1000, 227, "parameters", printed, f"{paper}, Table 1")
    counted = squeezenet.COMPLEX_BYPASS_COUNTED["fire2, 4, 6, 8"]
    for relu in (False, True):
        options = {"name": "squeezenet", "bypass": "complex", "bypass_relu": relu}
        yield Size(options, 1000, 227, "parameters", counted, "counted from Figure 2")
    operations = squeezenet.README["1.0"]["gigaflops"] * 1e9 / 2
    options = {"name": "squeezenet", "conv10_padding": 1}
    yield Size(options, 1000, 227, "multiply_adds", operations, "README of forresti/SqueezeNet")
    for (ratio, fraction), counted in squeezenet.FIGURE_3_COUNTED.items():
        options = {"name": "squeezenet", "squeeze_ratio": ratio, "pct_3x3": fraction}
        yield Size(options, 1000, 227, "parameters", counted, "counted from section 5.1")
    for ratio, row in squeezenet.FIGURE_3A.items():
        if row["megabytes"]:
            options = {"name": "squeezenet", "squeeze_ratio": ratio}
            printed, source = row["megabytes"] * 2**18, f"{paper}, Figure 3, {row['megabytes']} MB"
            yield Size(options, 1000, 227, "parameters", printed, source)


def inception() -> Iterator[Size]:
    """arXiv:1409.4842, arXiv:1502.03167, arXiv:1512.00567, Table 3, whose costs are slips."""
    source, why = "arXiv:1512.00567, Table 3", "counted from the released network"
    paper, design = {"name": "googlenet"}, googlenet.DESIGN_MULTIPLY_ADDS
    yield Size(paper, 1000, 224, "multiply_adds", design, "arXiv:1409.4842, section 5", False)
    caffe = "bvlc_googlenet of Caffe"
    yield Size(paper, 1000, 224, "parameters", googlenet.PARAMETERS, caffe, False)
    printed = {row["network"]: row["billion_ops"] * 1e9 for row in inception_v3.TABLE_3}
    for layout in ("released", "printed"):
        for separable in (True, False):
            stem = {"name": "bn_inception", "layout": layout, "separable_stem": separable}
            more = "arXiv:1502.03167, section 4.2.1, more than its table gives"
            yield Size(stem, 1000, 224, "parameters", bn_inception.PARAMETERS, more)
            yield Size(stem, 1000, 224, "multiply_adds", printed["BN-Inception"], source)
    for row, stem, auxiliary in (
        ("Inception-v2", False, "plain"),
        ("+ factorized 7x7", True, "plain"),
        ("+ BN-auxiliary", True, "bn"),
    ):
        options = {"name": "inception_v3", "factorized_stem": stem, "auxiliary": auxiliary}
        yield Size(options, 1000, 299, "multiply_adds", printed[row], f"{source}, a slip", False)
        counted = round(inception_v3.TABLE_3_COUNTED[row] * 1e9)
        yield Size(options, 1000, 299, "multiply_adds", counted, why, False)
    count = inception_v3.PARAMETERS["main, 1000 classes"]
    yield Size({"name": "inception_v3"}, 1000, 299, "parameters", count, why, False)


def older() -> Iterator[Size]:
    """LeNet, AlexNet, VGG."""
    for variant, row in deep_compression.LENETS.items():
        options = {"name": "lenet", "variant": variant}
        source = f"arXiv:1510.00149, Table {row['table']}"
        yield Size(options, 10, 28, "parameters", row["printed"], source)
        counted = "counted from the layers, 28x28x1"
        yield Size(options, 10, 28, "parameters", row["parameters"], counted)
    for variant in ("paper", "caffe"):
        grouped = {"name": "alexnet", "variant": variant}
        counted = "counted from Krizhevsky et al. (2012)"
        yield Size(grouped, 1000, 227, "parameters", alexnet.PARAMETERS, counted)
        yield Size(grouped, 1000, 227, "multiply_adds", alexnet.MULTIPLY_ADDS, counted)
    for letter, millions in vgg.TABLE_2.items():
        depth, conv1x1 = {"A": 11, "B": 13, "C": 16, "D": 16, "E": 19}[letter], letter == "C"
        for lrn in (False, True) if letter == "A" else (False,):
            options = {"name": "vgg", "depth": depth, "conv1x1": conv1x1, "lrn": lrn}
            source = "arXiv:1409.1556, Table 2"
            yield Size(options, 1000, 224, "parameters", millions * 1e6, source)
