"""Without options a network is its paper's, and an option is taken up to its bounds."""

import dataclasses
import functools

import flax.linen as nn
import pytest

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.models import layers, linear
from cnn_jax.models.inception_blocks import ConvUnit
from cnn_jax.models.residual_units import ResidualUnit, Stage
from cnn_jax.models.wide_resnet import WideBlock

# What residual networks share; None as the size of a batch-norm group is the whole batch.
RESIDUAL = {"residual": True, "order": "original", "death_rate": 0.0, "init_fan": "in"}
PROGRAM = {"unroll": False, "remat": False, "bn_group_size": None}
TF_SLIM = {"bn_epsilon": 0.001, "bn_momentum": 0.9997, "bn_group_size": None, "layout": "released"}
DEFAULTS = {
    "alexnet": {"variant": "paper", "dropout": 0.5, "fc_width": 4096, "fully_convolutional": False},
    "bn_inception": {**TF_SLIM, "separable_stem": True, "dropout": 0.0},
    "cifar_resnet": {
        **RESIDUAL,
        **PROGRAM,
        "depth": 20,
        "block": "basic",
        "shortcut": None,  # A, and B of bottlenecks
        "shortcut_scale": 1.0,
        "residual_scale": 1.0,
        "gating": "none",
        "gate_bias": 0.0,
        "shortcut_dropout": 0.0,
    },
    "googlenet": {
        "variant": "paper",
        "auxiliary": True,
        "dropout": 0.4,
        "auxiliary_dropout": 0.7,
        "bn_group_size": None,
    },
    "inception_v3": {
        **TF_SLIM,
        "factorized_stem": True,
        "receptive_field": 299,
        "auxiliary": "bn",
        "bn_scale": False,
        "count_include_pad": False,
        "dropout": 0.2,
        "kernel_init": "truncated_normal",
    },
    "lenet": {"variant": "5"},
    "resnet": {
        **RESIDUAL,
        **PROGRAM,
        "depth": 50,
        "preactivation": False,
        "shortcut": "B",
        "shortcut_bn": True,
        "stride_in": "1x1",
        "width": 1.0,
        "inner_width": 1.0,
        "groups": 1,
        "zero_init_gamma": False,
        "ceil_pool": False,
        "conv1_bias": False,
        "small_input": False,
        "same_padding": False,
    },
    "squeezenet": {
        "version": "1.0",
        "bypass": "none",
        "bypass_relu": False,
        "base_e": 128,
        "incr_e": 128,
        "freq": 2,
        "pct_3x3": 0.5,
        "squeeze_ratio": 0.125,
        "conv10_padding": 0,
        "dropout": 0.5,
        "weight_init": "caffe",
        "small_input": False,
        "logits_relu": True,
    },
    "vgg": {
        "depth": 16,
        "conv1x1": False,
        "lrn": False,
        "batch_norm": False,
        "dropout": 0.5,
        "fc_width": 4096,
        "weight_init": "paper",
        "fully_convolutional": False,
        "bn_group_size": None,
    },
    "wide_resnet": {
        **PROGRAM,
        "depth": 28,
        "width": 10,
        "block": "B(3,3)",
        "deepening": 2,
        "dropout": 0.0,
        "gamma": "uniform",
        "init_fan": "in",
    },
}


@pytest.mark.parametrize("name", models.names())
def test_options_default_to_the_first_network_of_the_paper(name):
    assert models.options(name) == {**DEFAULTS[name], "dtype": "float32"}


LAYERS = {
    layers.BatchNorm: {
        "group_size": None,
        "momentum": 0.9,
        "epsilon": 1e-5,
        "scale_init": nn.initializers.ones,
        "use_scale": True,
    },
    linear.MapLinear: {"bias_init": nn.initializers.zeros},
    ConvUnit: {
        "stride": 1,
        "padding": (0, 0),
        "norm": None,
        "kernel_init": layers.he_fan_in,
        "bias_init": nn.initializers.zeros,
    },
    ResidualUnit: {
        "strided": 0,
        "groups": 1,
        "activated": False,
        "residual": True,
        "order": "original",
        "shortcut": "A",
        "shortcut_bn": True,
        "gating": "none",
        "gate_bias": 0.0,
        "shortcut_scale": 1.0,
        "residual_scale": 1.0,
        "shortcut_dropout": 0.0,
        "zero_init_gamma": False,
        "init_fan": "in",
        "bn_group_size": None,
        "same_padding": False,
    },
    Stage: {"first_block": None, "remat": False},
    WideBlock: {"init_fan": "in"},
}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_layers_that_networks_share_have_these_defaults(layer):
    found = {
        field.name: field.default
        for field in dataclasses.fields(layer)
        if field.default is not dataclasses.MISSING and field.name not in ("parent", "name")
    }
    assert found.pop("dtype", "float32") == "float32"
    assert found == LAYERS[layer]


FRACTION = ((0.0, 0.999), (-1e-9, 1.0))  # what is taken, and what is not
BOUNDS = [
    *[(name, "dropout", *FRACTION) for name, options in DEFAULTS.items() if "dropout" in options],
    ("googlenet", "auxiliary_dropout", *FRACTION),
    *[(name, "bn_momentum", *FRACTION) for name in ("bn_inception", "inception_v3")],
    ("cifar_resnet", "shortcut_dropout", *FRACTION),
    *[(name, "death_rate", *FRACTION) for name in ("cifar_resnet", "resnet")],
    ("resnet", "width", (1 / 64, 2.0), (1 / 65, 0.0)),
    ("resnet", "inner_width", (1 / 64, 2.0), (1 / 65,)),
    ("resnet", "groups", (1, 32), (0, 3)),
    *[(name, "fc_width", (1, 4096), (0, -1)) for name in ("alexnet", "vgg")],
    ("cifar_resnet", "depth", (8, 14, 1202), (2, 7, 9, 0)),
    ("wide_resnet", "depth", (10, 16, 40), (4, 9, 11)),
    ("wide_resnet", "width", (1, 2), (0, -1)),
    ("wide_resnet", "deepening", (1, 2, 4), (0, 3, 5)),  # 28 is 3 l N + 4
    ("resnet", "depth", (18, 34, 50, 101, 152), (20, 49)),
    ("vgg", "depth", (11, 13, 16, 19), (12, 17)),
]


@pytest.mark.parametrize("name,option,taken,refused", BOUNDS)
def test_an_option_is_taken_up_to_its_bounds(name, option, taken, refused):
    for value in taken:
        models.create(name, num_classes=10, **{option: value})
    for value in refused:
        with pytest.raises(UserError):
            models.create(name, num_classes=10, **{option: value})


@pytest.mark.parametrize("depth,width,fits", [(18, 1.0, True), (18, 0.99, False), (50, 0.25, True)])
def test_a_shortcut_that_adds_channels_to_the_first_64_has_as_many(depth, width, fits):
    create = functools.partial(models.create, "resnet", num_classes=10, depth=depth, width=width)
    create(shortcut="B")
    if fits:
        create(shortcut="A")
    else:
        with pytest.raises(UserError, match="shortcut A adds channels"):
            create(shortcut="A")
    with pytest.raises(UserError, match="shortcut A adds channels"):
        models.create("resnet", num_classes=10, depth=50, width=0.24, shortcut="A")
