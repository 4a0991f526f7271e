"""Trained networks by name: files, torchvision's and the Hub's, recognized and verified."""

import jax
import numpy as np
import pytest

import cnn_jax
from cnn_jax.compression import archive
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.errors import UserError
from cnn_jax.interop import read
from cnn_jax.interop import torchvision as networks
from cnn_jax.interop.sources import layout
from cnn_jax.runs import compress, compressed, pretrained
from tests.conftest import launch_here

BGR = layout.Images(8, (0.1, 0.2, 0.3), (0.5, 0.5, 0.25), "bgr")
SMALL = {"name": "lenet", "variant": "300-100", "num_classes": 3}


@pytest.fixture(scope="module")
def state():
    """torchvision's names with random values, of a SqueezeNet for 7 classes."""
    rng, image = np.random.default_rng(0), np.zeros((1, 64, 64, 3))
    shapes = jax.eval_shape(networks.module("squeezenet1_1", 7).init, jax.random.key(0), image)
    variables = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32) / 9, shapes)
    return networks.to_torch("squeezenet1_1", variables)


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    """A file of it."""
    path = tmp_path_factory.mktemp("weights") / "state.npz"
    np.savez(path, **state)
    return path


@pytest.fixture
def photo(tmp_path):
    """A file with an image of noise."""
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_preprocessing_is_what_the_weights_expect_in_the_order_of_their_channels():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    expected = (pixels[..., ::-1] / 255 - BGR.mean) / BGR.std
    np.testing.assert_allclose(pretrained.preprocessing(BGR)(pixels), expected, rtol=1e-5)
    rgb = BGR._replace(channels="rgb")
    expected = (pixels / 255 - BGR.mean) / BGR.std
    np.testing.assert_allclose(pretrained.preprocessing(rgb)(pixels), expected, rtol=1e-5)


def test_a_compressed_network_takes_its_channels_in_the_order_of_the_weights(tmp_path):
    source = compress.Source(None, {}, pretrained.preprocessing(BGR), None, {})
    compress.write(tmp_path / "a.cnn", {}, source)
    arrays = archive.read(tmp_path / "a.cnn").variables["preprocessing"]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    found = compressed.preprocessing(arrays)(pixels)
    np.testing.assert_array_equal(found, source.preprocessing(pixels))


def test_a_file_of_torchvisions_names_is_recognized(file):
    run = cnn_jax.load_pretrained(file)
    assert (run.config.model.name, run.config.model.version) == ("squeezenet", "1.1")
    assert run.class_names == tuple("0123456") and run.evaluation_view.resize == 256


def test_runs_are_opened_by_the_same_function(tiny_run):
    assert cnn_jax.load_pretrained(tiny_run).status == "done"
    with pytest.raises(UserError, match="no trained network nowhere: it is a run, a file, torch"):
        cnn_jax.load_pretrained("nowhere")


def test_the_authors_squeezenet_is_the_same_in_both_orders_of_channels(shared_data):
    path = shared_data / "squeezenet_deep_compression/compressed_SqueezeNet.net"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    run, source = cnn_jax.load_pretrained(path), compress.open_source(path, "last")
    logits = [
        one.model.apply(variables, one.preprocessing(pixels))
        for one, variables in ((run, run.variables()), (source, source.variables))
    ]
    np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-4)
    assert run.evaluation_view == source.view


def test_predict_takes_weights_in_place_of_a_run(file, photo):
    done = launch_here("predict", f"--weights={file}", photo)
    assert done.returncode == 0 and "photo.png" in done.stdout
    assert "1." in done.stdout and "%" in done.stdout
    done = launch_here("predict", photo)
    assert done.returncode == 2 and "predict takes a RUN and IMAGEs" in done.stderr


def test_compress_takes_weights_and_the_file_predicts_as_they_do(file, tmp_path):
    done = launch_here("compress", file, f"--out={tmp_path / 'a.cnn'}", "--lossless")
    assert done.returncode == 0, done.stderr
    images = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), np.uint8)
    whole, small = (
        cnn_jax.load_pretrained(one).predict(images) for one in (file, tmp_path / "a.cnn")
    )
    np.testing.assert_allclose(small, whole, rtol=1e-5)


def test_weights_without_a_classifier_have_no_classes_to_predict():
    trained = read.Trained("timm", SMALL | {"num_classes": None}, {"params": {}}, BGR, None)
    with pytest.raises(UserError, match="has no classifier: training can start from it"):
        pretrained.PretrainedRun("a", trained).predict([np.zeros((8, 8, 3), np.uint8)])


def test_weights_that_do_not_say_how_images_are_normalized_say_that():
    run = pretrained.PretrainedRun("a", read.Trained("Flax", SMALL, {"params": {}}, None, None))
    with pytest.raises(UserError, match="a does not say how its images are normalized"):
        run.preprocessing  # noqa: B018


# --- what a start is told -------------------------------------------------------------------------


@pytest.fixture
def caffe():
    """A SqueezeNet that takes images as Caffe does."""
    model = {"name": "squeezenet", "version": "1.0", "conv10_padding": 1, "num_classes": 1000}
    return pretrained.PretrainedRun("a.net", read.Trained("", model, {}, BGR, None))


def test_another_normalization_is_a_warning_and_another_option_a_note(caffe):
    ours = dict(caffe.config.model) | {"conv10_padding": 0, "dropout": 0.9}
    plain = Preprocessing(np.float32([25]), np.float32([127]), None)
    note, warning = pretrained.deviations(caffe, ours, plain)
    assert note == "note: model.conv10_padding is 0, and 1 where the weights were trained"
    assert warning.startswith("warning: images become (x - (25)) / (127), and the weights expect")
    assert "in the order BGR: --config.preprocessing.mean=weights" in warning
    assert pretrained.deviations(caffe, dict(caffe.config.model), caffe.preprocessing) == []


def test_the_network_that_fits_is_named(caffe):
    told = pretrained.which_network(caffe, {"name": "squeezenet", "version": "1.1"})
    assert told == "; they are of another network: --config.model.version=1.0"
    told = pretrained.which_network(caffe, {"name": "resnet", "depth": 50})
    assert told.endswith("--config.model.name=squeezenet --config.model.conv10_padding=1")


@pytest.mark.parametrize(
    "mean,std,alike",
    [(99.5, 50, True), (98.5, 50, False), (99, 50.5, True), (99, 52, False)],
)
def test_normalizations_are_alike_within_a_pixel_value_and_two_percent(mean, std, alike):
    one, other = (
        Preprocessing(np.full(shape, m, np.float32), np.float32([s]), None)
        for shape, m, s in (((4, 4, 3), 100, 50), ((3,), mean, std))
    )
    assert pretrained.is_alike(one, other) == alike


def test_a_recipe_takes_the_normalization_of_its_weights(file):
    found = pretrained.expected(str(file), "weights", "weights", "none")
    np.testing.assert_allclose(found.mean, 255 * np.float32(layout.IMAGENET.mean))
    with pytest.raises(UserError, match="mean and std are 'weights' both"):
        pretrained.expected(str(file), "weights", "none", "none")
    with pytest.raises(UserError, match="mean and std are 'weights' both"):
        pretrained.expected(None, "weights", "weights", "none")
