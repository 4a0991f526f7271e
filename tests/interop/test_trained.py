"""What a file of weights says of its network, its images and its classes."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.interop import convert, read, torchvision, weights
from cnn_jax.interop.sources.layout import IMAGENET

OPTIONS = {"name": "resnet", "depth": 18, "stride_in": "3x3", "init_fan": "out"}
MODEL = models.create(num_classes=3, **OPTIONS)
IMAGE = (64, 64, 3)


@pytest.fixture(scope="module")
def variables():
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), np.zeros((1, *IMAGE), np.float32))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: rng.random(s.shape, np.float32), shapes)


@pytest.fixture(scope="module")
def state(variables):
    found = torchvision.to_torch("resnet18", variables)
    return {key: array for key, array in found.items() if array.ndim}


@pytest.fixture
def folder(state, tmp_path):
    """A folder of a hub without a config."""
    safetensors.numpy.save_file(state, tmp_path / "model.safetensors")
    return tmp_path


def same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_file_of_torchvision_tells_network_and_images(folder, variables):
    found = read.trained(folder / "model.safetensors")
    assert found.source == "torchvision" and found.images == IMAGENET
    assert found.model["depth"] == 18 and found.model["num_classes"] == 3
    assert found.class_names is None
    assert models.create(**found.model) == MODEL
    same(found.variables, variables)


def test_a_folder_of_timm_has_its_images_and_classes(folder, variables):
    about = {"input_size": [3, 288, 288], "mean": [0.5] * 3, "std": [0.25] * 3}
    config = {"architecture": "resnet18", "pretrained_cfg": about, "label_names": ["a", "b", "c"]}
    (folder / "config.json").write_text(json.dumps(config))
    found = read.trained(folder)
    assert found.source == "timm" and found.class_names == ("a", "b", "c")
    assert found.images.size == 288 and found.images.std == (0.25, 0.25, 0.25)
    same(found.variables, variables)


def test_a_folder_of_transformers_has_its_images_and_classes(state, tmp_path):
    networks = pytest.importorskip("tests.interop.sources.networks")
    renamed = networks.as_hugging_face(state)
    safetensors.numpy.save_file(renamed, tmp_path / "model.safetensors")
    config = {"model_type": "resnet", "id2label": {"1": "b", "0": "a", "2": "c"}}
    (tmp_path / "config.json").write_text(json.dumps(config | {"downsample_in_bottleneck": True}))
    about = {"size": {"shortest_edge": 256}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(about))
    found = read.trained(tmp_path)
    assert found.source == "Hugging Face" and found.class_names == ("a", "b", "c")
    assert found.model["stride_in"] == "1x1" and found.images.size == 256


def test_a_damaged_config_beside_weights_is_told(folder):
    (folder / "config.json").write_text('{"pretrained_cfg": {"mean": 3, "std": [1]}}')
    with pytest.raises(UserError, match="config.json is damaged"):
        read.trained(folder)


def test_an_empty_folder_and_another_file_are_told(tmp_path):
    with pytest.raises(UserError, match="has no weights: none of model.safetensors"):
        read.trained(tmp_path)
    with pytest.raises(UserError, match="weights are in files .*, not a.txt"):
        read.trained(tmp_path / "a.txt")


def test_weights_without_a_classifier_are_those_of_a_network_without_classes(state, tmp_path):
    body = {key: array for key, array in state.items() if not key.startswith("fc.")}
    safetensors.numpy.save_file(body, tmp_path / "a.safetensors")
    found = read.trained(tmp_path / "a.safetensors")
    assert found.model["num_classes"] is None and "fc" not in found.variables["params"]
    with pytest.raises(UserError, match="has no classifier"):
        read.variables(tmp_path / "a.safetensors", MODEL, IMAGE)


def test_what_convert_writes_tells_all_that_was_known(folder, variables, tmp_path):
    said = convert.recognized(folder / "model.safetensors", tmp_path / "ours.safetensors")
    assert said == "torchvision's weights of resnet (depth=18, stride_in=3x3), 3 classes"
    found = read.trained(tmp_path / "ours.safetensors")
    assert found.source == "cnn_jax" and found.images == IMAGENET
    assert models.create(**found.model) == MODEL
    same(found.variables, variables)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_our_arrays_alone_are_recognized_by_their_shapes(suffix, tmp_path):
    model = models.create("cifar_resnet", num_classes=4, depth=56)  # with a scanned stage
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
    tree = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    path = tmp_path / f"a.{suffix}"
    if suffix == "npz":
        flat = jax.tree_util.tree_leaves_with_path(tree)
        names = [jax.tree_util.keystr(key, simple=True, separator="/") for key, _ in flat]
        np.savez(path, **dict(zip(names, [leaf for _, leaf in flat], strict=True)))
    else:
        weights.save(path, tree, {})
    found = read.trained(path)
    assert models.create(**found.model) == model
    same(found.variables, tree)


def test_a_run_of_another_network_is_told_which_one_fits(folder):
    path = folder / "model.safetensors"
    deeper = models.create(**OPTIONS | {"depth": 34}, num_classes=3)
    with pytest.raises(UserError, match=r"they are torchvision's of resnet \(depth=18"):
        read.variables(path, deeper, IMAGE)
    other = models.create("vgg", num_classes=3, depth=11)
    with pytest.raises(UserError, match=r"torchvision's weights of resnet .*not of the VGG"):
        read.variables(path, other, IMAGE)


def test_an_option_that_changes_what_the_same_arrays_compute_is_told(folder):
    path = folder / "model.safetensors"
    other = models.create(**OPTIONS | {"stride_in": "1x1"}, num_classes=3)
    with pytest.raises(UserError, match="with --config.model.stride_in=3x3"):
        read.variables(path, other, IMAGE)
