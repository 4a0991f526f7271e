"""The options of a residual network reach its stages and units."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from cnn_jax import models
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.residual_units import Stage
from cnn_jax.models.wide_resnet import WideBlock

SHARED = {"residual": True, "order": "original", "init_fan": "in", "bn_group_size": None}
SHARED["dtype"] = "float32"
CIFAR = {
    **SHARED,
    "kernels": (3, 3),
    "inner": 16,
    "channels": 16,
    "shortcut": "A",
    "gating": "none",
    "gate_bias": 0.0,
    "shortcut_scale": 1.0,
    "residual_scale": 1.0,
    "shortcut_dropout": 0.0,
}
RESNET = {
    **SHARED,
    "kernels": (1, 3, 1),
    "inner": 64,
    "groups": 1,
    "channels": 256,
    "strided": 0,
    "shortcut": "B",
    "shortcut_bn": True,
    "zero_init_gamma": False,
    "same_padding": False,
}
BOTTLENECK = {"kernels": (1, 3, 1), "channels": 64, "shortcut": "B"}
WIDTH = {"inner": 256, "channels": 512}
BASIC = {"kernels": (3, 3), "channels": 64}
FULL = "full pre-activation"
CASES = [
    ("cifar_resnet", {}, {}),
    ("cifar_resnet", {"block": "bottleneck", "depth": 29}, BOTTLENECK),
    ("cifar_resnet", {"block": "single", "depth": 8}, {"kernels": (3,)}),
    ("cifar_resnet", {"residual": False}, {"residual": False}),
    ("resnet", {}, {}),
    ("resnet", {"depth": 18}, BASIC),
    ("resnet", {"depth": 18, "stride_in": "3x3", "residual": False}, BASIC | {"residual": False}),
    ("resnet", {"stride_in": "3x3"}, {"strided": 1}),
    ("resnet", {"width": 2.0, "inner_width": 2.0}, WIDTH),
    ("resnet", {"preactivation": True}, {"order": FULL}),
]
ALIKE = {
    "cifar_resnet": [
        *({"shortcut": "C"}, {"gating": "exclusive", "gate_bias": -3.0}, {"shortcut_scale": 0.5}),
        *({"residual_scale": 0.25}, {"shortcut_dropout": 0.3}),
    ],
    "resnet": [
        *({"groups": 32}, {"shortcut": "C"}, {"shortcut_bn": False}, {"zero_init_gamma": True}),
        {"same_padding": True},
    ],
}
BOTH = [{"order": FULL}, {"init_fan": "out"}, {"bn_group_size": 4}, {"dtype": "bfloat16"}]
CASES += [(name, own, own) for name in ALIKE for own in (*ALIKE[name], *BOTH)]


@pytest.mark.parametrize("name,options,changed", CASES)
def test_a_unit_is_made_of_the_options_of_its_network(name, options, changed):
    options = {"ceil_pool": True, **options} if "same_padding" in options else options
    model = models.create(name, num_classes=10, **options)
    channels, fields = {"cifar_resnet": (16, CIFAR), "resnet": (64, RESNET)}[name]
    assert model._unit(channels).keywords == fields | changed


def called(name, size, kind, **options):
    """The modules of a kind that a network calls."""
    found = []

    def note(call, arguments, keywords, context):
        if isinstance(context.module, kind) and context.method_name == "__call__":
            found.append(context.module)
        return call(*arguments, **keywords)

    model = models.create(name, num_classes=10, **options)
    image = jax.ShapeDtypeStruct((4, size, size, 3), jnp.float32)
    with nn.intercept_methods(note):
        eval_shape(model.init, jax.random.key(0), image)
    return found


@pytest.mark.parametrize("unroll,remat", [(True, False), (False, True)])
@pytest.mark.parametrize(
    "name,size,depth,counts,strides",
    [
        ("cifar_resnet", 8, 14, [2, 2, 2], [1, 2, 2]),
        ("wide_resnet", 8, 16, [2, 2, 2], [1, 2, 2]),
        ("resnet", 32, 18, [2, 2, 2, 2], [1, 2, 2, 2]),
    ],
)
def test_stages_are_of_the_depth_and_the_program_of_the_network(
    name, size, depth, counts, strides, unroll, remat
):
    stages = called(name, size, Stage, depth=depth, unroll=unroll, remat=remat)
    assert [stage.count for stage in stages] == counts
    assert [stage.stride for stage in stages] == strides
    assert {(stage.unroll, stage.remat) for stage in stages} == {(unroll, remat)}


def test_blocks_of_a_wide_network_are_made_of_its_options():
    options = {"dropout": 0.3, "gamma": "ones", "bn_group_size": 4, "init_fan": "out"}
    options |= {"dtype": "bfloat16"}
    blocks = called("wide_resnet", 8, WideBlock, depth=10, width=2, block="B(3,1)", **options)
    assert [block.channels for block in blocks] == [32, 64, 128]
    assert {block.kernels for block in blocks} == {(3, 1)}
    for name, value in options.items():
        assert {getattr(block, name) for block in blocks} == {value}
