"""Preprocessing subtracts and divides by the statistics of the training images."""

import numpy as np
import pytest

from cnn_jax.data import Split, preprocess
from cnn_jax.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = (RNG.random((400, 4, 4, 3)) * np.linspace(50, 255, 48).reshape(4, 4, 3)).astype(np.uint8)
TRAIN = Split(IMAGES, np.zeros(400, np.int32))


def fit(mean="none", std="none", whitening="none"):
    return preprocess.fit(TRAIN, mean=mean, std=std, whitening=whitening)


@pytest.mark.parametrize("mean,axes", [("channel", (0, 1, 2)), ("pixel", 0)])
def test_the_training_images_have_mean_zero_afterwards(mean, axes):
    assert np.abs(np.asarray(fit(mean)(IMAGES)).mean(axes)).max() < 1e-3


@pytest.mark.parametrize("std,axes", [("channel", (0, 1, 2)), ("pixel", 0), ("scalar", None)])
def test_the_training_images_have_deviation_one_afterwards(std, axes):
    x = np.asarray(fit("none", std)(IMAGES))
    np.testing.assert_allclose(x.std(axes), 1, rtol=1e-4)


def test_none_leaves_the_pixel_values():
    assert (np.asarray(fit()(IMAGES)) == IMAGES).all()


def test_a_pixel_that_never_changes_is_not_divided_by_zero():
    images = IMAGES.copy()
    images[:, 0, 0] = 0
    fitted = preprocess.fit(
        Split(images, TRAIN.labels), mean="pixel", std="pixel", whitening="none"
    )
    assert np.isfinite(np.asarray(fitted(images))).all()


def test_zca_decorrelates_the_pixels():
    x = np.asarray(fit(whitening="zca")(IMAGES)).reshape(400, -1)
    values = np.linalg.eigvalsh(np.cov(x.T))
    # S / (S + 0.1): just below 1, but for the direction that contrast equalization took away.
    assert values[0] < 1e-3 and values[1] > 0.95 and values[-1] < 1.01


def test_zca_beside_a_mean_is_refused():
    with pytest.raises(UserError, match="ZCA brings its own mean"):
        fit("channel", "none", "zca")


@pytest.mark.parametrize("whitening", ["none", "zca"])
def test_saved_and_loaded_it_is_the_same(whitening, tmp_path):
    mean = "pixel" if whitening == "none" else "none"
    fitted = fit(mean, whitening=whitening)
    preprocess.save(fitted, tmp_path / "preprocessing.npz")
    loaded = preprocess.load(tmp_path / "preprocessing.npz")
    assert (np.asarray(loaded(IMAGES)) == np.asarray(fitted(IMAGES))).all()
