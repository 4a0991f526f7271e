"""What every recipe subtracts and divides by, against the numbers of its published source."""

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data import Split, preprocess
from tests.experiments import recipes

# datasets/imagenet.lua of fb.resnet.torch, and torchvision: RGB, of pixels 0-1.
TORCH_MEAN, TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# train_val.prototxt of SqueezeNet and of bvlc_googlenet: BGR, of pixels 0-255, not divided.
CAFFE_MEAN = (104, 117, 123)
RGB = np.array([[[10, 100, 250]]], np.uint8)  # a pixel that no two channels share


def torch(pixel):
    return (pixel / 255 - TORCH_MEAN) / TORCH_STD


def caffe(pixel):
    return pixel[..., ::-1] - np.array(CAFFE_MEAN)


def inception(pixel):
    """image_processing.py of tensorflow/models: (x - 0.5) * 2 of pixels 0-1."""
    return (pixel / 255 - 0.5) * 2


def unit(pixel):
    """Wide ResNet's SVHN, section 3: divided by 255."""
    return pixel / 255


SMALL = np.random.default_rng(0).integers(0, 256, (50, 3, 3, 3), np.uint8)
SMALL[..., 0] //= 2  # channels and pixels with statistics of their own
SMALL[:, 0] //= 3


def channel_mean(pixel):
    return pixel - SMALL.mean((0, 1, 2))


def channel(pixel):
    return channel_mean(pixel) / SMALL.std((0, 1, 2))


def pixel_mean(pixel):
    return pixel - SMALL.mean(0)


def scalar(pixel):
    """Stochastic depth: the mean of each pixel, and one standard deviation of all data."""
    return pixel_mean(pixel) / SMALL.std()


SOURCES = {
    "alexnet/imagenet": {"": pixel_mean, "caffe": pixel_mean, "one_tower": torch},
    "googlenet/imagenet": {"": channel_mean, "caffe": caffe, "bn": channel_mean},
    "inception_v3/imagenet": {"": inception, "v2": inception, "released": inception},
    "preactivation/cifar": {"": pixel_mean, "released": channel},
    "preactivation/imagenet": {"": pixel_mean, "aspect": pixel_mean},
    "resnet/cifar10": {"": pixel_mean, "fb.resnet.torch": channel},
    "resnet/imagenet": {"": pixel_mean, "fb.resnet.torch": torch, "fb.resnet.torch-early": torch},
    "squeezenet/imagenet": {"": caffe, "1.1": caffe, "residual": caffe, "generator": caffe},
    "stochastic_depth/cifar": {"": scalar},
    "stochastic_depth/imagenet": {"": torch},
    "stochastic_depth/svhn": {"": scalar},
    "vgg/imagenet": {"": channel_mean, "torchvision": torch},
    "wide_resnet/cifar": {"": channel, "released": channel},
    "wide_resnet/imagenet": {"": torch},
    "wide_resnet/svhn": {"": unit},
}


def fitted(file, variant):
    group = recipes.load(f"experiments/{file}.py", variant).config.preprocessing
    split = Split(SMALL, np.zeros(len(SMALL), np.int32))
    return preprocess.fit(split, **group.to_dict())


@pytest.mark.parametrize(
    "file,variant", [(file, word) for file, words in SOURCES.items() for word in words]
)
def test_a_recipe_prepares_images_as_its_source(file, variant):
    ours = np.asarray(fitted(file, variant)(SMALL[:2]))
    expected = SOURCES[file][variant](SMALL[:2].astype(np.float64))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_no_two_sources_prepare_an_image_alike():
    ways = {way for words in SOURCES.values() for way in words.values()}
    results = [way(SMALL[:2].astype(np.float64)) for way in ways]
    for i, one in enumerate(results):
        assert all(np.abs(one - other).max() > 0.1 for other in results[:i])


def test_caffes_first_channel_is_the_blue_of_the_pixel():
    (ours,) = np.asarray(fitted("squeezenet/imagenet", "")(RGB[None])).reshape(-1, 3)
    assert ours.tolist() == [250 - 104, 100 - 117, 10 - 123]


def test_photographs_of_imagenet_have_about_the_statistics_of_the_constants(shared_data):
    files = sorted((shared_data / "imagenet_sample").glob("*/*.JPEG"))[::5]
    pixels = [np.asarray(Image.open(f).convert("RGB").resize((64, 64))) for f in files]
    images = np.stack(pixels)
    mean, std = images.mean((0, 1, 2)) / 255, images.std((0, 1, 2)) / 255
    np.testing.assert_allclose(mean, TORCH_MEAN, atol=0.03)
    np.testing.assert_allclose(std, TORCH_STD, atol=0.06)
    np.testing.assert_allclose(255 * mean[::-1], CAFFE_MEAN, atol=8)
