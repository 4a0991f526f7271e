"""From uint8 images to the network's input: (x - mean) / std, by statistics of the training images.

He et al. (2016) subtract the mean of every pixel; fb.resnet.torch and Wide ResNet use the mean and
the standard deviation of every channel; stochastic depth the mean of every pixel and one standard
deviation; the tables 2-4 of Wide ResNet are for ZCA-whitened images. For ImageNet there are
constants as well: those of fb.resnet.torch, of Caffe's networks and of Inception.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax import errors, files, old_names
from cnn_jax.data.dataset import Split

if TYPE_CHECKING:
    from cnn_jax.data.stream.reader import Batch


# For each channel, in pixel values 0-255 and in the order RGB.
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)  # fb.resnet.torch, datasets/imagenet.lua
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
CAFFE_MEAN = (123.0, 117.0, 104.0)  # of Caffe's files, which have it in the order BGR
INCEPTION = (127.5,) * 3  # as mean and as std: values from -1 to 1

CONSTANT_MEANS = {"imagenet": IMAGENET_MEAN, "caffe_bgr": CAFFE_MEAN, "inception": INCEPTION}
UNIT = (255.0,)  # as std only: values from 0 to 1, for any number of channels
CONSTANT_STDS = {"imagenet": IMAGENET_STD, "inception": INCEPTION, "unit": UNIT}
WHITENINGS = ("none", "zca")
# The axes of [H, W, C] over which a statistic is computed, besides that of the images.
MEAN_AXES = {"channel": (0, 1), "pixel": ()}
STD_AXES = {"channel": (0, 1), "pixel": (), "scalar": None}
MEANS = ("none", *MEAN_AXES, *CONSTANT_MEANS)
STDS = ("none", *STD_AXES, *CONSTANT_STDS)
CHUNK = 128  # images that are summed up at once

# Of Pylearn2's script, which made the whitened CIFAR files of that time.
ZCA_CONTRAST, ZCA_EPSILON = 55.0, 0.1


class Preprocessing(flax.struct.PyTreeNode):
    """What is subtracted from images and what they are divided by, in pixel values 0-255."""

    mean: jax.Array  # broadcasts to [H, W, C]
    std: jax.Array  # broadcasts to [H, W, C]
    whitening: jax.Array | None  # None, or a matrix [H*W*C, H*W*C]
    channels: jax.Array | None = None  # or int32 [C], the order in which the network takes them

    def __call__(self, images: jax.Array) -> jax.Array:
        """Pixel values 0-255 [B, H, W, C], uint8 or float -> float32 [B, H, W, C]."""
        x = images.astype(jnp.float32)
        if self.whitening is None:
            x = (x - self.mean) / self.std
            return x if self.channels is None else x[..., self.channels]
        rows = equalize_contrast(x.reshape(x.shape[0], -1), jnp)
        return ((rows - self.mean.reshape(-1)) @ self.whitening).reshape(x.shape)


def equalize_contrast(rows, xp):
    """Every image [N, D] to mean 0 and length `ZCA_CONTRAST`; `xp` is numpy or jax.numpy."""
    rows = rows - rows.mean(1, keepdims=True)
    return rows * (ZCA_CONTRAST / xp.maximum(xp.sqrt((rows**2).sum(1, keepdims=True)), 1e-8))


def fit(train: Split, *, mean: str, std: str, whitening: str) -> Preprocessing:
    """Statistics of the training images, in float64.

    Args:
      train: the training split; no other split is used.
      mean: "none", of each "channel" or each "pixel", or a constant for RGB images: "imagenet",
        "inception", or "caffe_bgr", which also puts the channels into the order BGR.
      std: "none", of each "channel" or each "pixel", or one "scalar"; or a constant: "imagenet" or
        "inception" for RGB images, "unit" (255) for any.
      whitening: "none", or "zca", which has its own statistics: mean and std must be "none".
    """
    images = train.images
    check(mean, std, whitening, images.shape[-1])
    if whitening == "zca":
        return fit_zca(images)
    return compose((images[i : i + CHUNK] for i in range(0, len(images), CHUNK)), mean, std)


def fit_stream(
    batches: Iterable["Batch"], channels: int, *, mean: str, std: str, whitening: str
) -> Preprocessing:
    """`fit` for images that come in batches, as from `reader.evaluation`, without ZCA.

    Reads no batch where all statistics are constants. Images of weight 0, which are padding or were
    skipped, do not count.
    """
    check(mean, std, whitening, channels)
    if whitening != "none":
        raise errors.UserError("preprocessing.whitening is 'zca', which needs all data in memory")
    return compose((batch.images[batch.weights > 0] for batch in batches), mean, std)


def is_computed(mean: str, std: str) -> bool:
    """Whether a statistic is computed from the images."""
    return mean in MEAN_AXES or std in STD_AXES


def check(mean: str, std: str, whitening: str, channels: int) -> None:
    """Raises `UserError` for unknown names, or names that exclude each other."""
    for field, value, choices in [
        ("mean", mean, MEANS),
        ("std", std, STDS),
        ("whitening", whitening, WHITENINGS),
    ]:
        if value not in choices:
            raise errors.unknown(f"preprocessing.{field}", value, choices)
    if whitening == "zca" and (mean, std) != ("none", "none"):
        raise errors.UserError(
            "preprocessing: ZCA brings its own mean and scale; set mean and std to 'none'"
        )
    for field, value in [("mean", mean), ("std", std)]:
        if channels != 3 and value in CONSTANT_MEANS:
            raise errors.UserError(
                f"preprocessing.{field} is {value!r}, of RGB images; these have {channels} channel"
            )


def compose(chunks: Iterable[np.ndarray], mean: str, std: str) -> Preprocessing:
    """The constants, or statistics of images that come in chunks, uint8 [n, H, W, C]."""
    center = np.array(CONSTANT_MEANS.get(mean, (0.0,)))
    spread = np.array(CONSTANT_STDS.get(std, (1.0,)))
    if is_computed(mean, std):
        moments = sum_up(chunks)
        if mean in MEAN_AXES:
            center, _ = mean_and_std(moments, MEAN_AXES[mean])
        if std in STD_AXES:
            _, spread = mean_and_std(moments, STD_AXES[std])
            # Some pixels never change, as at the border of the digits.
            spread = np.maximum(np.atleast_1d(spread), 1.0)
    channels = np.array([2, 1, 0], np.int32) if mean == "caffe_bgr" else None
    return Preprocessing(np.float32(center), np.float32(spread), None, channels)


def sum_up(chunks: Iterable[np.ndarray]) -> tuple[int, np.ndarray, np.ndarray]:
    """The number of images, and the sums of pixels and of their squares, int64 [H, W, C].

    They are integers, so that chunks of any size give the same statistics.
    """
    count, total, squares = 0, 0, 0
    for images in chunks:
        wide = images.astype(np.int64)
        count, total, squares = count + len(wide), total + wide.sum(0), squares + (wide**2).sum(0)
    if not count:
        raise errors.UserError("preprocessing: there is no image to take the statistics of")
    return count, total, squares


def mean_and_std(
    moments: tuple[int, np.ndarray, np.ndarray], axes: tuple[int, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over all images and the `axes` of [H, W, C], float64."""
    count, total, squares = moments
    first, second = ((sums / count).mean(axes) for sums in (total, squares))
    return first, np.sqrt(np.maximum(second - first**2, 0))


def fit_zca(images: np.ndarray) -> Preprocessing:
    """ZCA for contrast-equalized images: U (S + epsilon)^-1/2 U^T for the covariance U S U^T."""
    rows = equalize_contrast(images.reshape(len(images), -1).astype(np.float32), np)
    mean = rows.mean(0, dtype=np.float64)
    rows -= mean.astype(np.float32)
    values, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64) / len(rows))
    matrix = (vectors / np.sqrt(np.maximum(values, 0) + ZCA_EPSILON)) @ vectors.T
    mean = mean.reshape(images.shape[1:])
    return Preprocessing(np.float32(mean), np.ones(1, np.float32), np.float32(matrix))


def for_size(preprocessing: Preprocessing, shape: tuple[int, int]) -> Preprocessing:
    """The preprocessing for images of a size; means of pixels become means of channels.

    Raises `UserError` for ZCA whitening, which is for images of one size.
    """
    if preprocessing.whitening is not None:
        side = preprocessing.mean.shape[:2]
        if side != shape:
            raise errors.UserError(
                f"ZCA whitening is for images of {side[0]}x{side[1]}, and the views have "
                f"{shape[0]}x{shape[1]}: choose --protocol=center without --resize and --crop"
            )
        return preprocessing

    def fitted(array):
        array = np.asarray(array)
        fits = array.ndim < 3 or array.shape[:2] in (shape, (1, 1))
        return array if fits else array.mean((0, 1))

    mean, std = fitted(preprocessing.mean), fitted(preprocessing.std)
    return preprocessing.replace(mean=mean, std=std)


def save(preprocessing: Preprocessing, path: Path) -> None:
    """Writes the arrays as one `.npz` file."""
    files.write_arrays(path, to_arrays(preprocessing))


def load(path: Path) -> Preprocessing:
    """Reads what `save` wrote; raises `UserError` where it is damaged."""
    from cnn_jax.data import packed

    try:
        return from_arrays(packed.read_arrays(path))
    except (packed.Damaged, TypeError) as error:  # TypeError of arrays with other names
        raise errors.UserError(f"{path} is damaged: {errors.first_line(error)}") from None


def to_arrays(preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """The arrays by name, without those that are None."""
    return {name: array for name, array in vars(preprocessing).items() if array is not None}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Preprocessing:
    """The inverse of `to_arrays`."""
    return Preprocessing(**({"whitening": None, "channels": None} | old_names.arrays(arrays)))
