"""From uint8 to what the network sees: statistics of the training images, subtracted and divided.

He et al. (2016) subtract the mean of every pixel; fb.resnet.torch and Wide ResNet use the mean and
the deviation of every channel; stochastic depth the mean of every pixel and one deviation for all;
the tables 2-4 of Wide ResNet are on ZCA-whitened images. For ImageNet there are constants as well:
those of fb.resnet.torch, of Caffe's networks, of Inception.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax import errors
from cnn_jax.data.dataset import Split
from cnn_jax.data.streaming import Batch

# Of each channel, in units of 0-255 and in the order RGB.
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)  # fb.resnet.torch, datasets/imagenet.lua
IMAGENET_DEVIATION = (0.229 * 255, 0.224 * 255, 0.225 * 255)
CAFFE_MEAN = (123.0, 117.0, 104.0)  # of Caffe's files, where it stands in the order BGR
INCEPTION = (127.5,) * 3  # as mean and as deviation: values from -1 to 1

CONSTANT_MEANS = {"imagenet": IMAGENET_MEAN, "caffe_bgr": CAFFE_MEAN, "inception": INCEPTION}
UNIT = (255.0,)  # as deviation alone: values from 0 to 1, of any number of channels
CONSTANT_DEVIATIONS = {"imagenet": IMAGENET_DEVIATION, "inception": INCEPTION, "unit": UNIT}
MEANS = ("none", "channel", "pixel", *CONSTANT_MEANS)
DEVIATIONS = ("none", "channel", "pixel", "scalar", *CONSTANT_DEVIATIONS)
WHITENINGS = ("none", "zca")

# Pylearn2's script, with which the whitened CIFAR files of that time were made.
ZCA_CONTRAST, ZCA_EPSILON = 55.0, 0.1


class Preprocessing(flax.struct.PyTreeNode):
    """Arrays in units of pixel values 0-255."""

    mean: jax.Array  # broadcasts to [H, W, C]
    deviation: jax.Array  # broadcasts to [H, W, C]
    whitening: jax.Array | None  # None, or a matrix [H*W*C, H*W*C]
    channels: jax.Array | None = None  # or int32 [C], the order in which the network takes them

    def __call__(self, images: jax.Array) -> jax.Array:
        """Pixel values 0-255 [B, H, W, C], uint8 or float -> float32 [B, H, W, C]."""
        x = images.astype(jnp.float32)
        if self.whitening is None:
            x = (x - self.mean) / self.deviation
            return x if self.channels is None else x[..., self.channels]
        rows = equalise_contrast(x.reshape(len(x), -1), jnp)
        return ((rows - self.mean.reshape(-1)) @ self.whitening).reshape(x.shape)


def equalise_contrast(rows, xp):
    """Every image [N, D] to mean 0 and length `ZCA_CONTRAST`; `xp` is numpy or jax.numpy."""
    rows = rows - rows.mean(1, keepdims=True)
    return rows * (ZCA_CONTRAST / xp.maximum(xp.sqrt((rows**2).sum(1, keepdims=True)), 1e-8))


def fit(train: Split, *, mean: str, deviation: str, whitening: str) -> Preprocessing:
    """Statistics of the training images, in float64.

    Args:
      train: the training split; no other data is looked at.
      mean: "none", of each "channel" or of each "pixel", or a constant of RGB images, "imagenet",
        "inception", or "caffe_bgr", with which the channels come in the order BGR.
      deviation: "none", of each "channel", of each "pixel", or one "scalar", or a constant:
        "imagenet" or "inception" of RGB images, or "unit", 255.
      whitening: "none", or "zca", which needs mean and deviation "none": it has its own.
    """
    images = train.images
    check(mean, deviation, whitening, images.shape[-1])
    if whitening == "zca":
        return fit_zca(images)
    axes = {"channel": (0, 1, 2), "pixel": (0,), "scalar": None}
    centre = images.mean(axes[mean], dtype=np.float64) if mean in axes else None
    spread = None
    if deviation in axes:
        spread = np.asarray(images.std(axes[deviation], dtype=np.float64)).reshape(-1)
        spread = spread if deviation != "pixel" else spread.reshape(images.shape[1:])
    return compose(mean, deviation, centre, spread)


def fit_stream(
    batches: Iterable[Batch], *, mean: str, deviation: str, whitening: str
) -> Preprocessing:
    """`fit` of images that come in batches, as by `streaming.evaluation`; ZCA is not to be had.

    With constants alone no batch is read. Padding and skipped images, of weight 0, do not count.
    """
    check(mean, deviation, whitening, channels=3)
    if whitening != "none":
        raise errors.UserError(
            "preprocessing.whitening is 'zca', for which data must fit in memory"
        )
    computed = {"channel", "pixel", "scalar"}
    if not computed & {mean, deviation}:
        return compose(mean, deviation, None, None)
    count, total, squares = 0, 0.0, 0.0
    for batch in batches:
        images = batch.images[batch.weights > 0].astype(np.float64)
        count += len(images)
        total, squares = total + images.sum(0), squares + (images**2).sum(0)
    axes = {"channel": (0, 1), "pixel": (), "scalar": None}
    centre = (total / count).mean(axes[mean]) if mean in axes else None
    spread = None
    if deviation in axes:
        first, second = ((x / count).mean(axes[deviation]) for x in (total, squares))
        spread = np.atleast_1d(np.sqrt(np.maximum(second - first**2, 0)))
    return compose(mean, deviation, centre, spread)


def check(mean: str, deviation: str, whitening: str, channels: int) -> None:
    """Raises `UserError` for names that are unknown or do not go together."""
    for field, value, choices in [
        ("mean", mean, MEANS),
        ("deviation", deviation, DEVIATIONS),
        ("whitening", whitening, WHITENINGS),
    ]:
        if value not in choices:
            raise errors.unknown(f"preprocessing.{field}", value, choices)
    if whitening == "zca" and (mean, deviation) != ("none", "none"):
        raise errors.UserError(
            "preprocessing: ZCA brings its own mean and scale; set mean and deviation to 'none'"
        )
    for field, value in [("mean", mean), ("deviation", deviation)]:
        if channels != 3 and value in CONSTANT_MEANS:
            raise errors.UserError(
                f"preprocessing.{field} is {value!r}, of RGB images; these have {channels} channel"
            )


def compose(
    mean: str, deviation: str, centre: np.ndarray | None, spread: np.ndarray | None
) -> Preprocessing:
    """The computed arrays where there are some, else the constants of these names."""
    if centre is None:
        centre = np.array(CONSTANT_MEANS.get(mean, (0.0,)))
    if spread is None:
        spread = np.array(CONSTANT_DEVIATIONS.get(deviation, (1.0,)))
    else:  # a pixel that never changes, as at the rim of the digits
        spread = np.maximum(spread, 1.0)
    channels = np.array([2, 1, 0], np.int32) if mean == "caffe_bgr" else None
    return Preprocessing(np.float32(centre), np.float32(spread), None, channels)


def fit_zca(images: np.ndarray) -> Preprocessing:
    """ZCA on contrast-equalised images: U (S + epsilon)^-1/2 U^T of their covariance."""
    rows = equalise_contrast(images.reshape(len(images), -1).astype(np.float32), np)
    mean = rows.mean(0, dtype=np.float64)
    rows -= mean.astype(np.float32)
    values, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64) / len(rows))
    matrix = (vectors / np.sqrt(np.maximum(values, 0) + ZCA_EPSILON)) @ vectors.T
    mean = mean.reshape(images.shape[1:])
    return Preprocessing(np.float32(mean), np.ones(1, np.float32), np.float32(matrix))


def save(preprocessing: Preprocessing, path: Path) -> None:
    """Writes the arrays as one `.npz` file."""
    arrays = {k: v for k, v in vars(preprocessing).items() if v is not None}
    temporary = path.with_suffix(".tmp.npz")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path) -> Preprocessing:
    """Reads what `save` wrote."""
    with np.load(path) as arrays:
        return Preprocessing(**({"whitening": None, "channels": None} | dict(arrays)))
