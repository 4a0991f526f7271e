"""Sizes that papers print beside their main tables, and what their slips are really."""

import functools
import math

import jax
import jax.numpy as jnp
import pytest
from flax.traverse_util import flatten_dict

from cnn_jax import models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.models import pooling
from cnn_jax.models.cpu.xla import eval_shape
from experiments.alexnet import published as alexnet
from experiments.deep_compression import published as deep_compression
from experiments.googlenet import published as googlenet
from experiments.inception_v3 import published as inception_v3
from experiments.preactivation import published as preactivation
from experiments.resnet import published as resnet
from experiments.squeezenet import published as squeezenet
from experiments.wide_resnet import published as wide_resnet


@functools.cache
def counted(size=224, num_classes=1000, **options):
    """The layers of a network without its auxiliary heads."""
    found = layers_of(models.create(num_classes=num_classes, **options), (size, size, 3))
    return [layer for layer in found if not layer.name.lower().startswith("aux")]


def parameters(found):
    return sum(layer.parameters for layer in found)


def billions(found):
    """Multiply-adds in 1e9."""
    return sum(layer.multiply_adds for layer in found) / 1e9


@functools.cache
def cifar_parameters(num_classes=10, **options):
    """All parameters of a network for 32x32 images, and those in kernels; stages stay scanned."""
    model = models.create(num_classes=num_classes, **options)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params = eval_shape(model.init, jax.random.key(0), image)["params"]
    sizes = {path: math.prod(leaf.shape) for path, leaf in flatten_dict(params).items()}
    return sum(sizes.values()), sum(n for path, n in sizes.items() if path[-1] == "kernel")


def cifar_resnet(depth, **options):
    block = "bottleneck" if depth in (164, 1001) else "basic"
    return {"name": "cifar_resnet", "depth": depth, "block": block, **options}


# --- residual networks -------------------------------------------------------------------------


def test_vgg_16_of_resnets_section_3_3_is_without_linear_layers_and_vgg_19_with_them():
    convolutions = [layer for layer in counted(name="vgg", depth=16) if layer.kind == "Conv"]
    assert round(billions(convolutions), 1) == resnet.SECTION_3_3["VGG-16"] / 1e9
    vgg_19 = billions(counted(name="vgg", depth=19))
    assert round(vgg_19, 1) == resnet.SECTION_3_3["VGG-19"] / 1e9
    plain = billions(counted(name="resnet", depth=34, residual=False))
    assert plain / vgg_19 == pytest.approx(resnet.PLAIN_34_TO_VGG_19, abs=0.01)


PREACTIVATED = {"order": "full pre-activation"}
NETWORKS = {
    **{f"ResNet-{depth}": cifar_resnet(depth) for depth in (110, 164, 1001, 1202)},
    **{
        f"pre-activation ResNet-{depth}": cifar_resnet(depth, **PREACTIVATED)
        for depth in (110, 164, 1001)
    },
    **{f"original ResNet-{depth}": cifar_resnet(depth) for depth in (110, 1202)},
    **{
        f"stochastic depth {depth}": cifar_resnet(depth, death_rate=0.5, shortcut="average")
        for depth in (110, 1202)
    },
    **{
        f"{depth}-{width}": {"name": "wide_resnet", "depth": depth, "width": width}
        for depth, width in [(40, 4), (16, 8), (28, 10)]
    },
}


def rows_with_parameters(table):
    return [(row, values["parameters"]) for row, values in table.items() if "parameters" in values]


@pytest.mark.parametrize(
    ("row", "printed"),
    rows_with_parameters(preactivation.TABLE_4_CIFAR10)
    + rows_with_parameters(preactivation.TABLE_4_CIFAR100)
    + rows_with_parameters(wide_resnet.TABLE_5 | wide_resnet.TABLE_5_SLIPS),
)
def test_comparisons_print_all_parameters_and_of_resnet_1001_those_in_kernels(row, printed):
    every, kernels = cifar_parameters(**NETWORKS[row.removesuffix(", batch 64")])
    count = kernels if "1001" in row else every
    assert round(count / 1e6, 1) == printed / 1e6


def test_slips_of_wide_resnets_table_5_are_slips():
    for row, right in wide_resnet.TABLE_5_SLIPS.items():
        assert wide_resnet.TABLE_5[row]["parameters"] != right["parameters"]


@pytest.mark.parametrize("order", preactivation.TABLE_2)
@pytest.mark.parametrize("depth", [110, 164])
def test_every_order_of_table_2_has_the_kernels_of_the_original_network(depth, order):
    original = cifar_parameters(**cifar_resnet(depth))
    ours = cifar_parameters(**cifar_resnet(depth, order=order))
    assert ours[1] == original[1]
    # Batch norms differ where dimensions change: before the first unit, after a projection.
    assert ours[0] == pytest.approx(original[0], rel=1e-3)


@pytest.mark.parametrize("order", ["original", "full pre-activation"])
def test_one_layer_skips_of_table_3_do_not_change_the_parameters(order):
    ours = cifar_parameters(name="cifar_resnet", depth=110, block="single", order=order)
    assert ours[0] == resnet.CIFAR_COUNTED[110]["parameters"]


# --- wide residual networks --------------------------------------------------------------------


@pytest.mark.parametrize(("block", "count"), wide_resnet.TABLE_2_COUNTED_BY_LAYERS.items())
def test_other_reading_of_the_depths_of_table_2_has_far_fewer_parameters(block, count):
    row = wide_resnet.TABLE_2[block]
    blocks = (row["depth"] - 4) // 9  # in a group, where the depth counts three layers to a block
    options = {"name": "wide_resnet", "width": 2, "block": block}
    assert cifar_parameters(depth=6 * blocks + 4, **options)[0] == count
    assert count < 0.7 * row["parameters"]


@pytest.mark.parametrize(("depth", "width", "layers"), [(16, 2, 16), (28, 2, 28), (40, 1, 39)])
def test_depth_of_a_wide_resnet_counts_convolutions_with_three_projections(depth, width, layers):
    found = counted(32, 10, name="wide_resnet", depth=depth, width=width)
    assert sum(layer.kind == "Conv" for layer in found) == layers


def test_wrn_28_10_has_as_many_times_the_parameters_of_resnet_1001_as_the_text_says():
    wide, thin = (cifar_parameters(**NETWORKS[row])[1] for row in ("28-10", "ResNet-1001"))
    assert round(wide / thin, 1) == wide_resnet.PARAMETERS_28_10_TO_1001


# --- Inception ---------------------------------------------------------------------------------

INCEPTION_V2 = {"name": "inception_v3", "factorized_stem": False, "auxiliary": "plain"}
TABLE_3 = {
    "GoogLeNet": {"name": "googlenet"},
    "BN-GoogLeNet": {"name": "googlenet", "variant": "torchvision"},
    "Inception-v2": INCEPTION_V2,
    "+ RMSProp": INCEPTION_V2,
    "+ label smoothing": INCEPTION_V2,
    "+ factorized 7x7": INCEPTION_V2 | {"factorized_stem": True},
    "+ BN-auxiliary": {"name": "inception_v3"},
}


@pytest.mark.parametrize("network", TABLE_3)
def test_costs_of_inceptions_table_3(network):
    options = TABLE_3[network]
    ours = billions(counted(299 if options["name"] == "inception_v3" else 224, **options))
    assert round(ours, 3) == inception_v3.TABLE_3_COUNTED[network]
    printed = {row["network"]: row["billion_ops"] for row in inception_v3.TABLE_3}[network]
    if network == "BN-GoogLeNet":
        assert round(ours, 1) == printed
    else:
        assert ours > printed + 0.05  # the slip


def test_googlenet_costs_what_it_was_designed_for_with_conv1_as_printed():
    rows = counted(name="googlenet")
    conv1 = next(layer for layer in rows if layer.name.startswith("conv1/"))
    printed = googlenet.TABLE_1["conv1"]["ops"] * 1e6
    operations = billions(rows) * 1e9 - conv1.multiply_adds + printed
    assert operations == pytest.approx(googlenet.DESIGN_MULTIPLY_ADDS, rel=0.001)


@pytest.mark.parametrize("name", [name for name in googlenet.TABLE_1 if name != "conv1"])
def test_rows_of_googlenets_table_1_have_their_parameters_within_8_percent(name):
    of_row = {"conv2": ("conv2_reduce", "conv2")}.get(name, (name,))
    found = [row for row in counted(name="googlenet") if row.name.split("/")[0] in of_row]
    assert parameters(found) / 1024 == pytest.approx(googlenet.TABLE_1[name]["params"], rel=0.08)


def test_googlenet_has_27_layers_with_its_pools(monkeypatch):
    strides = []
    pool = pooling.max_pool

    def spy(x, window, stride, padding, ceil=False):
        strides.append(stride)
        return pool(x, window, stride, padding, ceil)

    monkeypatch.setattr(pooling, "max_pool", spy)
    counted.__wrapped__(name="googlenet")
    pools = strides.count(2) + 1  # the last one is the average pool
    assert googlenet.LAYERS_WITH_PARAMETERS + pools == googlenet.LAYERS_WITH_POOLS


def test_googlenet_is_smaller_than_alexnet_but_not_twelve_times():
    ratio = alexnet.PARAMETERS / parameters(counted(name="googlenet"))
    assert round(ratio, 1) == 8.7 < googlenet.FEWER_PARAMETERS_THAN_ALEXNET


def test_inception_v3_has_less_than_25_million_parameters_and_as_printed_in_table_1_more():
    assert parameters(counted(299, name="inception_v3")) < inception_v3.PARAMETERS_BELOW
    printed = counted(299, name="inception_v3", layout="table_1")
    ours = inception_v3.TABLE_1_COUNTED
    assert parameters(printed) == ours["parameters"] > inception_v3.PARAMETERS_BELOW
    assert round(billions(printed), 3) == ours["billion_multiply_adds"]


def test_layers_of_inceptions_auxiliary_head_have_their_sizes():
    found = layers_of(models.create("inception_v3", num_classes=1000), (299, 299, 3))
    layers = {row.name: row for row in found if row.name.startswith("AuxLogits")}
    first = layers["AuxLogits/Conv2d_1b_1x1/conv"]
    sizes = {
        name: layers[f"AuxLogits/{name}/conv"].output_shape
        for name in ("Conv2d_1b_1x1", "Conv2d_2a_5x5")
    }
    sizes["pool"] = (*first.output_shape[:2], first.kernel_shape[2])
    assert sizes == inception_v3.AUXILIARY_HEAD


# --- AlexNet -----------------------------------------------------------------------------------


def test_alexnet_without_groups_has_the_kernels_of_three_layers_twice():
    found = counted(227, name="alexnet")
    grouped = [row for row in found if row.name in ("conv2", "conv4", "conv5")]
    ungrouped = parameters(found) + sum(math.prod(row.kernel_shape) for row in grouped)
    assert ungrouped == alexnet.PARAMETERS_WITHOUT_GROUPS


def test_alexnet_takes_240_megabytes():
    megabytes = 4 * parameters(counted(227, name="alexnet")) / 1e6
    assert round(megabytes, -1) == squeezenet.TABLE_2["alexnet", "none"]["megabytes"]


# --- SqueezeNet after pruning ------------------------------------------------------------------


def test_released_squeezenet_keeps_fewer_parameters_than_its_table_1_prints():
    found = counted(name="squeezenet")
    biases = parameters(found) - sum(math.prod(row.kernel_shape) for row in found)
    assert biases == 3976
    kept = deep_compression.SQUEEZENET_NONZERO + biases
    assert kept == 419_897 < squeezenet.TABLE_1_PARAMETERS_AFTER_PRUNING
