"""What stands beside our numbers is what `published.py` has, row by row."""

import importlib
import re
from pathlib import Path

import pytest

from cnn_jax.analysis import comparison
from cnn_jax.evaluation.protocols import create
from tests.experiments import recipes

METRIC = r"(best/)?\w+/top[15]_error|file/(kilobytes|rate)|\w+/(density|size|\w+_bits)\w*"


def rows(file, name):
    return list(recipes.MODULES[file].TABLES[name].rows())


@pytest.mark.parametrize("file,name", recipes.TABLES)
def test_rows_name_different_folders(file, name):
    folders = [re.sub(r"[^A-Za-z0-9._]", "-", row.name) for row in rows(file, name)]
    assert folders and len(set(folders)) == len(folders)


@pytest.mark.parametrize("file,name", recipes.TABLES)
def test_every_number_of_a_row_is_published(file, name):
    printed = numbers(published(file))
    for row in rows(file, name):
        for key, value in row.published.items():
            assert re.fullmatch(METRIC, key)
            if value == ">20":  # printed as "fail"
                assert "fail" in texts(published(file))
            elif value != ">60":  # of Figure 6
                accuracy = round(100 - value, 3)
                assert value in printed or accuracy in printed, (row.name, key, value)


@pytest.mark.parametrize("file,name", recipes.TABLES)
def test_every_metric_of_a_row_has_a_whole_protocol_and_a_tolerance(file, name):
    table = recipes.MODULES[file].TABLES[name]
    for row in rows(file, name):
        protocols = table.protocols if row.protocols is None else row.protocols
        for metric in row.published:
            assert comparison.tolerance({"tolerance": table.tolerance}, metric) > 0
            where = metric.split("/")[0]
            if where not in ("test", "best") and table.command == "train":
                settings = protocols[where]
                made = create(**{"filter": "bilinear", **settings}).settings
                assert settings == {k: v for k, v in made.items() if k != "filter"}


def published(file):
    module = ".".join((*Path(file).parent.parts, "published"))
    found = importlib.import_module(module)
    return {name: value for name, value in vars(found).items() if name.isupper()}


def texts(tree):
    if isinstance(tree, dict):
        return set().union(*map(texts, tree.values()))
    return {tree} if isinstance(tree, str) else set()


def numbers(tree):
    if isinstance(tree, dict):
        return set().union(*map(numbers, tree.values()))
    if isinstance(tree, list | tuple):
        return set().union(*map(numbers, tree))
    return {round(tree, 3)} if isinstance(tree, int | float) else set()


# A row of each table: fields of its config, and what the paper prints of it.
SAMPLES = [
    ("resnet/cifar10", "table_6", "ResNet-110", {"model.depth": 110}, 6.61),
    ("resnet/cifar10", "figure_6", "plain-56", {"model.residual": False}, None),
    ("resnet/imagenet", "table_2", "plain-34", {"model.residual": False}, 28.54),
    ("resnet/imagenet", "table_2", "ResNet-34", {"model.shortcut": "A"}, 25.03),
    ("resnet/imagenet", "table_3", "ResNet-34 C", {"model.shortcut": "C"}, 24.19),
    ("resnet/imagenet", "table_4", "ResNet-152", {"model.stride_in": "1x1"}, 19.38),
    ("resnet/imagenet", "fb.resnet.torch", "ResNet-50",
     {"model.order": "BN after addition", "view.train.kind": "area_square"}, 24.01),
    ("resnet/imagenet", "torchvision", "resnet50",
     {"optimizer.nesterov": False, "model.stride_in": "3x3", "color.lighting": 0.0}, 23.87),
    ("preactivation/cifar", "table_1", "shortcut-only gating, shortcut 1-g(x), F 1, bias -6",
     {"model.gating": "shortcut-only", "model.gate_bias": -6.0, "model.order": "original"}, 6.91),
    ("preactivation/cifar", "table_1", "exclusive gating, shortcut 1-g(x), F g(x), bias -5",
     {"model.gating": "exclusive", "model.gate_bias": -5.0}, ">20"),
    ("preactivation/cifar", "table_3", "CIFAR-10, ResNet-110, one-layer skip, preactivation",
     {"model.block": "single", "model.order": "full pre-activation"}, 8.91),
    ("preactivation/cifar", "table_2", "BN after addition, 164", {"model.depth": 164}, 6.50),
    ("preactivation/cifar", "table_4", "CIFAR-10, pre-activation ResNet-1001, batch 64",
     {"training.batch_size": 64}, 4.62),
    ("preactivation/imagenet", "table_5", "ResNet-152, scale, 224",
     {"view.evaluation.size": 224, "model.preactivation": False}, 23.0),
    ("preactivation/imagenet", "resnet_101", "ResNet-101, BN after addition",
     {"view.evaluation.size": 224, "model.order": "BN after addition"}, 24.6),
    ("stochastic_depth/imagenet", "table_1", "stochastic depth, 120 epochs",
     {"model.death_rate": 0.5, "training.duration": "120 epochs"}, 21.98),
    ("stochastic_depth/cifar", "table_1", "CIFAR-100+, stochastic depth",
     {"model.death_rate": 0.5, "data.name": "cifar100", "data.validation_size": 5000}, 24.98),
    ("stochastic_depth/cifar", "without_augmentation", "CIFAR-10, constant depth",
     {"model.death_rate": 0.0, "augmentation.crop_padding": 0, "augmentation.flip": False}, 13.63),
    ("stochastic_depth/cifar", "resnet_1202", "1202 layers, stochastic depth",
     {"model.depth": 1202}, 4.91),
    ("stochastic_depth/svhn", "table_1", "stochastic depth", {"model.depth": 152}, 1.75),
    ("wide_resnet/cifar", "table_2", "B(3,1,1)",
     {"model.depth": 40, "model.width": 2, "preprocessing.whitening": "zca"}, 5.86),
    ("wide_resnet/cifar", "table_3", "l=3", {"model.deepening": 3, "model.depth": 40}, 5.65),
    ("wide_resnet/cifar", "table_4", "CIFAR-100 22-10",
     {"model.depth": 22, "data.name": "cifar100", "preprocessing.whitening": "zca"}, 20.75),
    ("wide_resnet/cifar", "table_5", "CIFAR-10 28-10",
     {"model.width": 10, "preprocessing.mean": "channel"}, 4.00),
    ("wide_resnet/cifar", "table_6", "CIFAR-10 28-10 dropout", {"model.dropout": 0.3}, 3.89),
    ("wide_resnet/cifar", "table_9", "CIFAR-100 40-10", {"model.dropout": 0.3}, 18.3),
    ("wide_resnet/cifar", "width", "WRN-10-2", {"model.width": 2}, None),
    ("wide_resnet/svhn", "table_6", "16-8 dropout", {"model.dropout": 0.4}, 1.54),
    ("wide_resnet/imagenet", "table_7", "WRN-18-1.5", {"model.width": 1.5}, 27.06),
    ("wide_resnet/imagenet", "table_8", "WRN-50-2-bottleneck", {"model.inner_width": 2.0}, 21.9),
    ("inception_v3/imagenet", "table_2", "79x79", {"view.train.size": 79}, 24.8),
    ("inception_v3/imagenet", "table_3", "+ BN-auxiliary", {"model.auxiliary": "bn"}, 21.2),
    ("inception_v3/imagenet", "table_4", "Inception-v3", {"ema.decay": 0.9999}, 19.47),
    ("squeezenet/imagenet", "table_3", "simple bypass",
     {"model.bypass": "simple", "augmentation.flip": True}, 39.6),
    ("squeezenet/imagenet", "figure_3a", "SR 0.75", {"model.squeeze_ratio": 0.75}, 14.0),
    ("squeezenet/imagenet", "figure_3b", "50% 3x3", {"model.squeeze_ratio": 0.5}, 14.4),
    ("squeezenet/cifar10", "bypass", "complex bypass", {"model.bypass": "complex"}, None),
    ("squeezenet/cifar10", "bypass_long", "complex bypass",
     {"model.bypass": "complex", "training.duration": "100 epochs"}, None),
    ("alexnet/imagenet", "released", "BVLC", {"model.variant": "caffe"}, 42.9),
    ("vgg/imagenet", "table_3", "E, S [256;512], Q 384",
     {"model.depth": 19, "view.train.shorter_side": [256, 512]}, 25.5),
    ("vgg/imagenet", "torchvision", "vgg16_bn", {"model.batch_norm": True}, 26.64),
    ("googlenet/imagenet", "table_3", "1 model", {"loss.auxiliary_weight": 0.3}, 10.07),
    ("googlenet/imagenet", "caffe", "bvlc_googlenet", {"training.batch_size": 32}, 31.3),
    ("bn_inception/imagenet", "figure_3", "BN-x5", {"learning_rate.rate": 0.0075}, 27.0),
    ("bn_inception/imagenet", "inception_v3", "BN-Inception", {"model.dropout": 0.0}, 25.2),
    ("deep_compression/lenet", "table_1", "LeNet-5", {"compression.bits.ip1": 5}, 44),
    ("deep_compression/lenet", "smallest", "LeNet-300-100", {"compression.bits.ip3": 5}, 27),
    ("deep_compression/lenet", "table_2", "LeNet-300-100", {"compression.bits.ip1": 6}, 8),
    ("deep_compression/lenet", "table_3", "LeNet-5", {"compression.bits.conv1": 8}, 66),
    ("deep_compression/alexnet", "table_1", "AlexNet", {"compression.bits.fc6": 5}, 6900),
    ("deep_compression/alexnet", "table_4", "AlexNet", {"model.variant": "caffe"}, 84),
    ("deep_compression/alexnet", "table_6", "4 and 2 bits", {"compression.bits.fc6": 2}, 44.77),
    ("deep_compression/vgg", "table_1", "VGG-16", {"compression.bits.conv1_1": 8}, 11300),
    ("deep_compression/vgg", "table_5", "VGG-16", {"model.depth": 16}, 58),
]  # fmt: skip


@pytest.mark.parametrize("file,table,name,fields,first", SAMPLES)
def test_a_row_is_the_network_that_the_paper_prints_this_of(file, table, name, fields, first):
    file = f"experiments/{file}.py"
    (row,) = (row for row in rows(file, table) if row.name == name)
    config = recipes.configs.flatten(recipes.of_row(file, row).config.to_dict())
    assert {field: config[field] for field in fields} == fields
    assert next(iter(row.published.values()), None) == first


def test_every_table_has_a_sample():
    assert {(f"experiments/{file}.py", table) for file, table, *_ in SAMPLES} == set(recipes.TABLES)
