"""Exported files of Keras are those that Keras's own networks load."""

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
pytest.importorskip("h5py")

from cnn_jax.errors import UserError
from cnn_jax.interop import formats, read, recognize, translate
from cnn_jax.interop.export import exported, keras, named
from tests.interop.export import made
from tests.interop.sources import cases

NETWORKS = [
    ("ResNet50", "resnet", {"depth": 50}, 64),
    ("ResNet101", "resnet", {"depth": 101}, 64),
    ("ResNet152", "resnet", {"depth": 152}, 64),
    ("InceptionV3", "inception_v3", {"auxiliary": "bn"}, 299),
    ("VGG16", "vgg", {"depth": 16}, 224),
    ("VGG19", "vgg", {"depth": 19}, 224),
]


@pytest.mark.slow
@pytest.mark.parametrize("name, family, options, side", NETWORKS)
def test_keras_loads_the_file_gives_the_same_logits_and_the_bytes_come_back(
    name, family, options, side, tmp_path
):
    library = pytest.importorskip("keras")
    network, path = made.network(family, side, **options), tmp_path / "a.weights.h5"
    told, _ = exported.writer("keras").write(network, path)
    assert f"keras.applications.{name}(weights=None, classes=3).load_weights" in told
    build = getattr(library.applications, name)
    theirs = build(weights=None, classes=3, classifier_activation=None)
    theirs.load_weights(path)
    images = cases.images(theirs.input_shape[1], 1)
    ours, expected = made.logits(network, images), np.asarray(theirs(images, training=False))
    assert np.abs(ours - expected).max() / np.abs(expected).max() < 1e-5
    again = made.again(read.trained(path), network)
    exported.writer("keras").write(again, tmp_path / "b.weights.h5")
    assert path.read_bytes() == (tmp_path / "b.weights.h5").read_bytes()


@pytest.mark.parametrize(
    "family, options",
    [
        ("resnet", {"depth": 50, "width": 0.0625}),
        pytest.param("inception_v3", {"auxiliary": "none"}, marks=pytest.mark.slow),
        ("vgg", {"depth": 19, "fc_width": 8}),
    ],
)
def test_arrays_by_keras_names_are_read_as_the_same_network(family, options, tmp_path):
    network = made.network(family, 64 if family != "inception_v3" else 75, **options)
    layout = named.table(network, ("Keras",))
    first = named.arrays(layout, network)
    (tmp_path / "a.h5").write_bytes(keras.content(first))
    found = recognize.trained(formats.by_name(tmp_path / "a.h5"))
    options = {k: v for k, v in found.model.items() if k not in ("name", "num_classes")}
    second = translate.to_theirs(layout, options, found.variables)
    assert list(first) == list(second)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_networks_are_in_the_order_in_which_keras_counts_layers():
    tables = [layout for layout in recognize.layouts() if layout.source == "Keras"]
    names = [name for layout in tables for name in layout.names]
    place = {name: i for i, name in enumerate(names)}
    unit = [f"conv2_block1_{i}_conv" for i in (1, 2, 0, 3)]
    assert sorted(unit, key=place.get) == unit
    # As Keras 3.15 counts the first module's and the last module's convolutions.
    first = [f"conv2d_{i}" for i in (8, 6, 9, 5, 7, 10, 11)]
    last = [f"conv2d_{i}" for i in (89, 86, 90, 87, 88, 91, 92, 85, 93)]
    assert sorted(first, key=place.get) == first
    assert sorted(last, key=place.get) == last


@pytest.mark.parametrize(
    "family, options, told",
    [
        ("resnet", {"depth": 18, "width": 0.0625}, r"no resnet \(depth=18.*it has ResNet50, "),
        ("wide_resnet", {"depth": 10}, "Keras has no wide_resnet .*InceptionV3; --to=onnx"),
        ("resnet", {"depth": 50, "width": 0.0625}, "Keras's ResNet50 has width=1.0, not 0.0625"),
        (
            "resnet",
            {"depth": 50, "width": 0.0625, "stride_in": "3x3"},
            "has stride_in=1x1 and not 3x3",
        ),
    ],
)
def test_networks_that_keras_does_not_have_are_refused(family, options, told, tmp_path):
    network = made.network(family, 32 if family == "wide_resnet" else 64, **options)
    with pytest.raises(UserError, match=told):
        exported.writer("keras").write(network, tmp_path / "a.weights.h5")
