"""`launch.py summary` finds the published sizes, and they are ours."""

import jax
import pytest

from cnn_jax import models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.interop import torchvision
from experiments import published


def test_resnet_50_of_the_paper_and_of_torchvision_are_told_apart():
    paper = published.find({"name": "resnet", "depth": 50}, 1000, 224)
    assert {size.value for size in paper} == {3.8e9, 25_557_032}
    theirs = published.find(torchvision.options("resnet50"), 1000, 224)
    assert {size.value for size in theirs} == {4.089e9, 25_557_032}


def test_other_classes_have_no_published_size():
    assert published.find({"name": "resnet", "depth": 50}, 10, 224) == []


@pytest.mark.parametrize("name", torchvision.names())
def test_sizes_of_torchvision_are_ours_to_the_printed_precision(name):
    image = 299 if name == "inception_v3" else 224
    options = torchvision.options(name)
    rows = layers_of(models.create(num_classes=1000, **options), (image, image, 3))
    if name == "inception_v3":  # whose multiply-adds are those of inference
        rows = [row._replace(multiply_adds=0) if "Aux" in row.name else row for row in rows]
    if name == "googlenet":
        # torchvision counts the parameters without the auxiliary heads.
        rows = [row for row in rows if not row.name.startswith("auxiliary")]
    for size in published.find(options, 1000, image):
        if size.source == "torchvision":
            ours = sum(getattr(row, size.quantity) for row in rows)
            assert ours == pytest.approx(size.value, abs=0 if size.value < 2e8 else 0.6e6)


def test_every_published_size_belongs_to_a_network_that_can_be_made():
    for size in published.sizes():
        model = models.create(num_classes=size.num_classes, **size.options)
        image = jax.ShapeDtypeStruct((1, size.image, size.image, 3), "float32")
        assert model is not None and image.shape[1] == size.image
