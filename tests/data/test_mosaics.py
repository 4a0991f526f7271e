"""A lossless picture of all images of a class gives back each of them."""

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data import cifar, mosaics
from cnn_jax.errors import UserError


@pytest.fixture
def images():
    """By split and class, uint8 [6, 32, 32, 3]."""
    rng = np.random.default_rng(0)
    names = [(split, name) for split in ("train", "test") for name in ("cat", "dog")]
    return {name: rng.integers(0, 256, (6, 32, 32, 3), np.uint8) for name in names}


@pytest.fixture
def folder(images, tmp_path):
    """Mosaics of two rows of three images."""
    for (split, name), own in images.items():
        (tmp_path / split).mkdir(exist_ok=True)
        mosaic = own.reshape(2, 3, 32, 32, 3).swapaxes(1, 2).reshape(64, 96, 3)
        Image.fromarray(mosaic).save(tmp_path / split / f"{name}.webp", lossless=True)
    return tmp_path


def test_every_image_comes_back_in_order(folder, images):
    dataset = cifar.load("cifar10", folder, None)
    assert dataset.class_names == ("cat", "dog") and list(dataset.splits) == ["train", "test"]
    for split, (found, labels) in dataset.splits.items():
        expected = np.concatenate([images[split, name] for name in ("cat", "dog")])
        np.testing.assert_array_equal(found, expected)
        assert labels.tolist() == [0] * 6 + [1] * 6


def test_a_damaged_a_missing_and_an_odd_one_are_told(folder):
    Image.fromarray(np.zeros((64, 50, 3), np.uint8)).save(folder / "test/dog.webp", lossless=True)
    with pytest.raises(UserError, match="dog.webp is no mosaic of images of 32 x 32"):
        mosaics.load(folder)
    (folder / "test/dog.webp").write_bytes(b"RIFF")
    with pytest.raises(UserError, match="cannot read .*dog.webp"):
        mosaics.load(folder)
    (folder / "test/dog.webp").unlink()
    with pytest.raises(UserError, match="cannot read .*dog.webp"):
        mosaics.load(folder)
