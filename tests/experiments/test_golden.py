"""Recipes in numbers: rates at and around their drops, decay, batches, groups, lengths."""

import itertools

import jax.numpy as jnp
import pytest

from tests.experiments import recipes

CIFAR10, IMAGENET = "experiments/resnet/cifar10.py", "experiments/resnet/imagenet.py"
WIDE, WIDE_SVHN = "experiments/wide_resnet/cifar.py", "experiments/wide_resnet/svhn.py"
WIDE_IMAGENET = "experiments/wide_resnet/imagenet.py"
PRE, PRE_IMAGENET = "experiments/preactivation/cifar.py", "experiments/preactivation/imagenet.py"
DEPTH, DEPTH_SVHN, DEPTH_IMAGENET = (
    f"experiments/stochastic_depth/{name}.py" for name in ("cifar", "svhn", "imagenet")
)
INCEPTION, SQUEEZE = (f"experiments/{name}/imagenet.py" for name in ("inception_v3", "squeezenet"))
ALEX, VGG, GOOG = (f"experiments/{name}/imagenet.py" for name in ("alexnet", "vgg", "googlenet"))
BN = "experiments/bn_inception/imagenet.py"


def around(*drops):
    """`(step, rate)`: the rate from this step on -> the rates just before, and at, each of them."""
    points = [drops[0]]
    for (_, before), (step, after) in itertools.pairwise(drops):
        points += [(step - 1, before), (step, after)]
    return points


# 390 steps an epoch of CIFAR in batches of 128, 351 of its 45,000; 4,721 of SVHN, 4,674 without the
# 6,000; 5,004 of ImageNet in batches of 256, 800 of 1,600, 40,036 of 32.
RATES = [
    (CIFAR10, "20", around((0, 0.1), (32_000, 0.01), (48_000, 0.001))),
    (CIFAR10, "110", around((0, 0.01), (400, 0.1), (32_000, 0.01), (48_000, 0.001))),
    (CIFAR10, "fb.resnet.torch", around((0, 0.1), (31_200, 0.01), (47_190, 0.001))),
    (PRE, "164", around((0, 0.01), (400, 0.1), (32_000, 0.01), (48_000, 0.001))),
    (PRE, "1001,released", around((0, 0.1), (62_480, 0.01), (94_501, 0.001))),
    (DEPTH, "", around((0, 0.1), (87_750, 0.01), (131_625, 0.001))),
    (DEPTH, "released", around((0, 0.1), (87_399, 0.01), (131_274, 0.001))),
    (DEPTH, "1202", around((0, 0.01), (3510, 0.1), (52_650, 0.01), (78_975, 0.001))),
    (DEPTH_SVHN, "", around((0, 0.1), (140_220, 0.01), (163_590, 0.001))),
    (DEPTH_SVHN, "released", around((0, 0.1), (135_546, 0.01), (158_916, 0.001))),
    (WIDE, "", around((0, 0.1), (23_400, 0.02), (46_800, 0.004), (62_400, 0.0008))),
    (WIDE, "released", around((0, 0.1), (23_010, 0.02), (46_410, 0.004), (62_010, 0.0008))),
    (WIDE_SVHN, "", around((0, 0.01), (377_680, 0.001), (566_520, 0.0001))),
    (IMAGENET, "steps", around((0, 0.1), (150_120, 0.01), (300_240, 0.001))),
    (IMAGENET, "fb.resnet.torch", around((0, 0.1), (150_120, 0.01), (300_240, 0.001))),
    (PRE_IMAGENET, "", around((0, 0.1), (150_120, 0.01), (300_240, 0.001))),
    (WIDE_IMAGENET, "", around((0, 0.1), (150_120, 0.01), (300_240, 0.001))),
    (INCEPTION, "", around((0, 0.045), (1600, 0.0423), (3200, 0.039762))),
    (SQUEEZE, "", [(0, 0.04), (85_000, 0.02), (170_000, 0.0)]),
    (SQUEEZE, "first_solver", [(0, 0.08), (63_750, 0.04), (85_000, 0.0)]),
    (DEPTH_IMAGENET, "", around((0, 0.1), (300_270, 0.01), (600_540, 0.001), (900_810, 1e-4))),
    (ALEX, "caffe", around((0, 0.01), (100_000, 0.001), (200_000, 1e-4), (300_000, 1e-5))),
    (ALEX, "one_tower", around((0, 0.01), (150_120, 0.001), (300_240, 1e-4))),
    (VGG, "torchvision", around((0, 0.01), (150_120, 0.001), (300_240, 1e-4))),
    (BN, "", around((0, 0.045), (53_381, 0.0432), (106_762, 0.041472))),
    (GOOG, "", around((0, 0.0015), (320_288, 0.00144), (640_576, 0.0013824))),
    (GOOG, "caffe", [(0, 0.01), (1_200_000, 0.00707107), (2_400_000, 0.0)]),
]


@pytest.mark.parametrize("file,variant,points", RATES)
def test_rates_at_and_around_the_drops(file, variant, points):
    rate = recipes.load(file, variant).learning_rate
    steps = [step for step, _ in points]
    assert [float(rate(step)) for step in steps] == pytest.approx([r for _, r in points], rel=1e-4)


@pytest.mark.parametrize(
    "file,variant,first", [(IMAGENET, "", 0.1), (ALEX, "", 0.01), (VGG, "", 0.01)]
)
def test_rates_that_drop_at_a_plateau_do_so_three_times_by_ten(file, variant, first):
    recipe = recipes.load(file, variant)
    rule = recipe.learning_rate.plateau
    assert float(recipe.learning_rate(0)) == pytest.approx(first)
    assert (rule.factor, rule.patience) == (0.1, 5)
    assert rule.min_scale == pytest.approx(1e-3)
    assert recipe.config.data.validation_size == 10_000


# Batch size, examples that share batch statistics, length in steps.
SIZES = [
    (CIFAR10, "20", 128, 64, 64_000),
    (CIFAR10, "fb.resnet.torch", 128, None, 63_960),
    (PRE, "", 128, 64, 64_000),
    (PRE, "1001,released", 64, 32, 156_200),
    (DEPTH, "", 128, None, 175_500),
    (DEPTH, "1202", 128, None, 105_300),
    (DEPTH_SVHN, "", 128, None, 233_700),
    (WIDE, "", 128, None, 78_000),
    (WIDE_SVHN, "", 128, None, 755_360),
    (IMAGENET, "", 256, 32, 600_000),
    (IMAGENET, "steps", 256, 32, 450_360),
    (IMAGENET, "fb.resnet.torch", 256, 64, 450_360),
    (IMAGENET, "torchvision", 256, 32, 450_360),
    (PRE_IMAGENET, "", 256, 32, 450_360),
    (WIDE_IMAGENET, "", 256, 64, 450_360),
    (INCEPTION, "", 1600, 32, 80_000),
    (SQUEEZE, "", 512, None, 170_000),
    (SQUEEZE, "first_solver", 1024, None, 85_000),
    (DEPTH_IMAGENET, "", 128, 32, 1_201_080),
    (DEPTH_IMAGENET, "90", 128, 32, 900_810),
    (IMAGENET, "fb.resnet.torch-early", 256, 64, 450_360),
    (ALEX, "", 128, None, 893_700),
    (ALEX, "caffe", 256, None, 450_000),
    (VGG, "", 256, None, 370_000),
    (VGG, "torchvision,bn", 256, 32, 450_360),
    (GOOG, "", 32, None, 10_009_000),
    (GOOG, "caffe", 32, None, 2_400_000),
    (BN, "", 32, None, 6_000_000),
    (BN, "baseline", 32, None, 31_000_000),
]


@pytest.mark.parametrize("file,variant,batch,group,steps", SIZES)
def test_batches_batch_norm_groups_and_lengths(file, variant, batch, group, steps):
    recipe = recipes.load(file, variant)
    model = recipe.config.model.to_dict()
    found = (recipe.plan.batch_size, model.get("bn_group_size"), recipe.plan.total_steps)
    assert found == (batch, group, steps)


ALL, KERNELS = {"kernel", "bias", "scale", "shift"}, {"kernel"}
# Weight decay, the parameters that it pulls at, and the rate of biases over that of the others.
DECAYS = [
    (CIFAR10, "", 1e-4, KERNELS, 1.0),
    (CIFAR10, "fb.resnet.torch", 1e-4, ALL, 1.0),
    (PRE, "", 1e-4, KERNELS, 1.0),
    (DEPTH, "", 1e-4, ALL, 1.0),
    (DEPTH_SVHN, "", 1e-4, ALL, 1.0),
    (WIDE, "", 5e-4, ALL, 1.0),
    (WIDE_SVHN, "", 5e-4, ALL, 1.0),
    (IMAGENET, "steps", 1e-4, KERNELS, 1.0),
    (IMAGENET, "fb.resnet.torch", 1e-4, ALL, 1.0),
    (INCEPTION, "v2", 4e-5, KERNELS, 1.0),
    (SQUEEZE, "", 2e-4, ALL, 1.0),
    (SQUEEZE, "generator", 2e-4, KERNELS, 2.0),
    (ALEX, "", 5e-4, ALL, 1.0),
    (ALEX, "caffe", 5e-4, KERNELS, 2.0),
    (ALEX, "one_tower", 1e-4, ALL, 1.0),
    (VGG, "", 5e-4, ALL, 1.0),
    (GOOG, "", 2e-4, KERNELS, 1.0),
    (BN, "", 4e-5, KERNELS, 1.0),
    (GOOG, "caffe", 2e-4, KERNELS, 2.0),
]


@pytest.mark.parametrize("file,variant,weight_decay,decayed,bias_rate", DECAYS)
def test_weight_decay_pulls_at_the_parameters_of_the_paper(
    file, variant, weight_decay, decayed, bias_rate
):
    recipe = recipes.load(file, variant)
    update = first_update(recipe, gradient=0.0)
    pulled = {name for name, value in update.items() if value}
    assert pulled == decayed
    assert update["kernel"] == pytest.approx(-weight_decay, rel=1e-4)
    pushed = first_update(recipe, gradient=1.0)
    assert pushed["bias"] / (pushed["shift"]) == pytest.approx(bias_rate, rel=1e-3)


def first_update(recipe, gradient):
    """The first step of parameters that are 1, for a rate of 1; Nesterov's counts 1.9 times."""
    tree = {
        "conv": {"kernel": jnp.ones(()), "bias": jnp.ones(())},
        "bn": {"scale": jnp.ones(()), "bias": jnp.ones(())},
    }
    gradients = {
        name: {key: jnp.float32(gradient) for key in layer} for name, layer in tree.items()
    }
    updates, _ = recipe.optimizer.update(gradients, recipe.optimizer.init(tree), tree)
    scale = float(recipe.learning_rate(0)) * (1.9 if recipe.config.optimizer.nesterov else 1.0)
    named = {**updates["conv"], "scale": updates["bn"]["scale"], "shift": updates["bn"]["bias"]}
    return {name: float(value) / scale for name, value in named.items()}


def test_inception_has_the_rmsprop_of_tensorflow_with_clipping_only_in_the_paper():
    paper, released = (recipes.load(INCEPTION, word).config.optimizer for word in ("", "released"))
    assert (paper.name, paper.square_decay, paper.epsilon) == ("rmsprop", 0.9, 1.0)
    assert (paper.clip_norm, released.clip_norm) == (2.0, None)
    assert paper.clips_decay


def test_rows_of_inceptions_table_3_add_one_change_each():
    configs = [recipes.of_row(INCEPTION, row).config for row in rows(INCEPTION, "table_3")]
    changes = [
        (c.optimizer.name, c.loss.label_smoothing, c.model.factorized_stem, c.model.auxiliary)
        for c in configs
    ]
    assert changes == [
        ("momentum", 0.0, False, "plain"),
        ("rmsprop", 0.0, False, "plain"),
        ("rmsprop", 0.1, False, "plain"),
        ("rmsprop", 0.1, True, "plain"),
        ("rmsprop", 0.1, True, "bn"),
    ]


def rows(file, table):
    return list(recipes.MODULES[file].TABLES[table].rows())


# --- what the published numbers were trained with, where code changed -------------------------


def fields(file, variant, *names):
    flat = recipes.configs.flatten(recipes.load(file, variant).config.to_dict())
    return tuple(flat[name] for name in names)


def test_inceptions_colors_are_those_of_its_code():
    operations = ("brightness", "contrast", "saturation", "hue", "lighting", "clip", "formulas")
    found = fields(INCEPTION, "", *(f"color.{name}" for name in operations))
    assert found == (32 / 255, 0.5, 0.5, 0.2, 0.0, True, "tensorflow")


UNIT = ("model.order", "model.shortcut_bn", "view.train.kind", "model.stride_in")


@pytest.mark.parametrize(
    "depth,order,shortcut_bn",
    [
        ("18", "original", False),
        ("34", "original", False),
        ("50", "BN after addition", True),
        ("101", "original", True),
    ],
)
def test_early_fb_resnet_torch_has_the_units_and_views_of_its_published_networks(
    depth, order, shortcut_bn
):
    early = fields(IMAGENET, f"{depth},fb.resnet.torch-early", *UNIT)
    assert early == (order, shortcut_bn, "area_square", "3x3")
    today = fields(IMAGENET, f"{depth},fb.resnet.torch", *UNIT)
    assert today == ("original", True, "area_aspect", "3x3")


def test_whitened_results_come_from_an_initialization_by_fan_out():
    assert fields(WIDE, "28-10,zca", "model.init_fan") == ("out",)
    assert fields(WIDE, "28-10", "model.init_fan") == ("in",)
    for table in ("table_2", "table_3", "table_4"):
        for row in rows(WIDE, table):
            assert recipes.of_row(WIDE, row).config.model.init_fan == "out"


@pytest.mark.parametrize("table", ["table_3", "figure_3a", "figure_3b"])
def test_squeezenets_published_numbers_stand_at_the_solver_that_gave_them(table):
    for row in rows(SQUEEZE, table):
        config = recipes.of_row(SQUEEZE, row).config
        assert (config.learning_rate.rate, config.training.batch_size) == (0.08, 1024)
        assert config.augmentation.flip == (row.name == "simple bypass")


@pytest.mark.parametrize("table", ["table_2", "table_3"])
def test_inceptions_published_errors_are_of_the_images_that_are_not_blacklisted(table):
    for row in rows(INCEPTION, table):
        file = recipes.of_row(INCEPTION, row).config.data.exclude
        assert file.endswith("ILSVRC2015_clsloc_validation_blacklist.txt")
    assert fields(INCEPTION, "", "data.exclude") == (None,)
