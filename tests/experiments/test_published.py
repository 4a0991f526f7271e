"""`launch.py summary` finds the published sizes, and they are ours."""

import jax
import pytest

from cnn_jax import models
from cnn_jax.analysis.summary import layers_of, total
from cnn_jax.interop import torchvision
from experiments import published
from tests.experiments import recipes


def test_resnet_50_of_the_paper_and_of_torchvision_are_told_apart():
    paper = published.find({"name": "resnet", "depth": 50}, 1000, 224)
    assert {size.value for size in paper} == {3.8e9, 25.6e6, 25_557_032}
    theirs = published.find(torchvision.options("resnet50"), 1000, 224)
    assert {size.value for size in theirs} == {4.089e9, 25.6e6, 25_557_032}


def test_other_classes_have_no_published_size():
    assert published.find({"name": "resnet", "depth": 50}, 10, 224) == []


# One of each family, fast; all of them where there is time.
ONE = ("alexnet", "googlenet", "inception_v3", "resnext50_32x4d", "squeezenet1_1", "vgg11_bn")
NAMES = [
    pytest.param(name, marks=[] if name in ONE else [pytest.mark.slow])
    for name in torchvision.names()
]


@pytest.mark.parametrize("name", NAMES)
def test_sizes_of_torchvision_are_ours_to_the_printed_precision(name):
    image = 299 if name == "inception_v3" else 224
    options = torchvision.options(name)
    rows = layers_of(models.create(num_classes=1000, **options), (image, image, 3))
    sizes = [s for s in published.find(options, 1000, image) if s.source == "torchvision"]
    assert sizes
    for size in sizes:
        ours = total(rows, size.quantity, size.auxiliary)
        assert ours == pytest.approx(size.value, abs=0 if size.value < 2e8 else 0.6e6)


def test_every_published_size_belongs_to_a_network_that_can_be_made():
    for size in published.sizes():
        model = models.create(num_classes=size.num_classes, **size.options)
        image = jax.ShapeDtypeStruct((1, size.image, size.image, 3), "float32")
        assert model is not None and image.shape[1] == size.image


# Rows of tables beside which no paper prints a size: how many, and why.
WITHOUT = {
    ("inception_v3/imagenet", "table_2"): (
        2,
        "79x79 and 151x151: only that all cost nearly as much",
    ),
    ("preactivation/cifar", "table_1"): (11, "gates and 1x1 convolutions in the shortcuts"),
    ("preactivation/imagenet", "table_5"): (2, "152 with pre-activation, 200 without"),
    ("squeezenet/cifar10", "bypass"): (3, "our own network"),
    ("squeezenet/cifar10", "bypass_long"): (3, "the same"),
    ("stochastic_depth/svhn", "table_1"): (2, "152 layers for small images"),
    ("wide_resnet/cifar", "width"): (3, "our own networks"),
}


def test_every_row_of_a_table_stands_beside_the_size_that_a_paper_prints_of_it():
    found = {}
    for file, name in recipes.TABLES:
        rows = (recipes.of_row(file, row) for row in recipes.MODULES[file].TABLES[name].rows())
        sizes = [
            published.find(r.config.model.to_dict(), r.classes, r.image_shape[0]) for r in rows
        ]
        table = file.removeprefix("experiments/").removesuffix(".py"), name
        if missing := sizes.count([]):
            found[table] = missing
    assert found == {table: count for table, (count, _) in WITHOUT.items()}
