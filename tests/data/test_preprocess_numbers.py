"""Preprocessing against its published constants, and whitening against its formula."""

import numpy as np
import pytest

from cnn_jax.data import Split, preprocess
from cnn_jax.data.stream.reader import Batch
from cnn_jax.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = (RNG.random((300, 2, 3, 3)) * np.linspace(50, 255, 18).reshape(2, 3, 3)).astype(np.uint8)


def fit(mean="none", std="none", whitening="none", images=IMAGES):
    split = Split(images, np.zeros(len(images), np.int32))
    return preprocess.fit(split, mean=mean, std=std, whitening=whitening)


# In pixel values 0-255 and RGB: datasets/imagenet.lua, Caffe's mean files, image_processing.py.
CONSTANTS = {
    ("imagenet", "imagenet"): ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    ("caffe_bgr", "none"): ((123, 117, 104), 1),
    ("inception", "inception"): (127.5, 127.5),
    ("none", "unit"): (0, 255),
}


@pytest.mark.parametrize("mean,std", CONSTANTS)
def test_published_constants(mean, std):
    fitted, (center, spread) = fit(mean, std), CONSTANTS[mean, std]
    ours = np.asarray(fitted(IMAGES[:3]))
    expected = (IMAGES[:3] - np.array(center)) / spread
    np.testing.assert_allclose(ours, expected[..., ::-1] if "bgr" in mean else expected, atol=1e-4)


def test_whitening_is_pylearn2s():
    rows = IMAGES.reshape(300, -1).astype(np.float64)
    rows -= rows.mean(1, keepdims=True)
    rows *= 55 / np.linalg.norm(rows, axis=1, keepdims=True)
    centered = rows - rows.mean(0)
    values, vectors = np.linalg.eigh(centered.T @ centered / 300)
    expected = centered @ vectors / np.sqrt(values + 0.1) @ vectors.T
    ours = np.asarray(fit(whitening="zca")(IMAGES)).reshape(300, -1)
    np.testing.assert_allclose(ours, expected, atol=5e-3)


def test_an_image_of_one_shade_has_no_contrast_to_equalize():
    assert (preprocess.equalize_contrast(np.full((1, 4), 7.0), np) == 0).all()


@pytest.mark.parametrize("mean", ["none", "channel", "pixel"])
@pytest.mark.parametrize("std", ["none", "channel", "pixel", "scalar"])
def test_statistics_are_those_of_numpy(mean, std):
    axes = {"channel": (0, 1, 2), "pixel": 0, "scalar": None}
    x = IMAGES.astype(np.float64)
    center = 0 if mean == "none" else x.mean(axes[mean])
    spread = 1 if std == "none" else x.std(axes[std])
    fitted = fit(mean, std)
    np.testing.assert_allclose(fitted.mean, center * np.ones(fitted.mean.shape), rtol=1e-6)
    np.testing.assert_allclose(fitted.std, spread * np.ones(fitted.std.shape), rtol=1e-5)
    assert fitted.mean.dtype == fitted.std.dtype == np.float32 and fitted.channels is None


def test_a_deviation_below_one_pixel_value_counts_as_one():
    images = IMAGES.copy()
    images[:, 0, 0] = [0, 0, 3]
    images[::2, 0, 0, 0] = 1  # a deviation of 0.5
    assert fit("none", "pixel", images=images).std[0, 0].tolist() == [1, 1, 1]


def batches(*weights):
    index = np.arange(len(weights[0]), dtype=np.int32)
    for own in weights:
        yield Batch(IMAGES[: len(own)], index, index, np.float32(own), index > 99)


def test_a_stream_counts_its_images_that_have_a_weight():
    settings = {"channels": 3, "mean": "channel", "std": "scalar", "whitening": "none"}
    ours = preprocess.fit_stream(batches([1, 0, 1], [0, 1, 1]), **settings)
    theirs = fit("channel", "scalar", images=IMAGES[[0, 2, 1, 2]])
    np.testing.assert_array_equal(ours.mean, theirs.mean)
    np.testing.assert_array_equal(ours.std, theirs.std)
    with pytest.raises(UserError, match="no image to take the statistics of"):
        preprocess.fit_stream(batches([0, 0]), **settings)
    with pytest.raises(UserError, match="'zca', which needs all data in memory"):
        preprocess.fit_stream((), channels=3, mean="none", std="none", whitening="zca")


def test_constants_read_no_image():
    settings = {"channels": 3, "mean": "imagenet", "std": "imagenet", "whitening": "none"}
    never = (pytest.fail("read") for _ in range(1))
    assert preprocess.fit_stream(never, **settings).mean.shape == (3,)
    assert [preprocess.is_computed(*names) for names in CONSTANTS] == [False] * 4
    assert preprocess.is_computed("none", "scalar") and preprocess.is_computed("pixel", "none")


@pytest.mark.parametrize(
    "mean,std,whitening,channels,told",
    [
        ("chanel", "none", "none", 3, "preprocessing.mean 'chanel'"),
        ("none", "caffe_bgr", "none", 3, "preprocessing.std 'caffe_bgr'"),
        ("none", "none", "pca", 3, "preprocessing.whitening 'pca'"),
        ("pixel", "none", "zca", 3, "ZCA brings its own mean"),
        ("none", "scalar", "zca", 3, "ZCA brings its own mean"),
        ("imagenet", "none", "none", 1, "preprocessing.mean is 'imagenet', of RGB images"),
        ("none", "inception", "none", 1, "preprocessing.std is 'inception', of RGB images"),
    ],
)
def test_names_that_cannot_be_are_told(mean, std, whitening, channels, told):
    with pytest.raises(UserError, match=told):
        preprocess.check(mean, std, whitening, channels)


def test_gray_images_may_have_any_statistic_of_their_own_and_the_unit():
    for mean, std in [("channel", "unit"), ("pixel", "scalar"), ("none", "none")]:
        preprocess.check(mean, std, "none", 1)
    preprocess.check("none", "none", "zca", 1)


@pytest.mark.parametrize("mean", ["pixel", "caffe_bgr"])
def test_arrays_that_are_none_are_not_kept(mean):
    fitted = fit(mean)
    arrays = preprocess.to_arrays(fitted)
    assert set(arrays) == {"mean", "std"} | ({"channels"} if "bgr" in mean else set())
    again = preprocess.from_arrays(arrays)
    np.testing.assert_array_equal(again(IMAGES[:2]), fitted(IMAGES[:2]))


def test_means_of_pixels_become_means_of_channels_for_another_size():
    own, fitted = (2, 3), fit("pixel", "channel")
    same = preprocess.for_size(fitted, own)
    np.testing.assert_array_equal(same.mean, fitted.mean)
    other = preprocess.for_size(fitted, (2, 2))
    np.testing.assert_allclose(other.mean, fitted.mean.mean((0, 1)), rtol=1e-6)
    np.testing.assert_array_equal(other.std, fitted.std)
    scalar = preprocess.for_size(fit("imagenet", "scalar"), (9, 9))
    assert scalar.mean.shape == (3,) and scalar.std.shape == (1,)
    one_pixel = fitted.replace(mean=np.float32([[[1, 2, 3]]]))
    assert preprocess.for_size(one_pixel, (9, 9)).mean.shape == (1, 1, 3)


def test_whitening_is_for_images_of_one_size():
    fitted = fit(whitening="zca")
    assert preprocess.for_size(fitted, (2, 3)) is fitted
    with pytest.raises(
        UserError, match="ZCA whitening is for images of 2x3, and the views have 3x3"
    ):
        preprocess.for_size(fitted, (3, 3))
