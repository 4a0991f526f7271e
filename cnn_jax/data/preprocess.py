"""From uint8 to what the network sees: statistics of the training images, subtracted and divided.

He et al. (2016) subtract the mean of every pixel; fb.resnet.torch and Wide ResNet use the mean and
the deviation of every channel; stochastic depth the mean of every pixel and one deviation for all;
the tables 2-4 of Wide ResNet are on ZCA-whitened images.
"""

import os
from pathlib import Path

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax import errors
from cnn_jax.data.dataset import Split

MEANS = ("none", "channel", "pixel")
DEVIATIONS = ("none", "channel", "pixel", "scalar")
WHITENINGS = ("none", "zca")

# Pylearn2's script, with which the whitened CIFAR files of that time were made.
ZCA_CONTRAST, ZCA_EPSILON = 55.0, 0.1


class Preprocessing(flax.struct.PyTreeNode):
    """Arrays in units of pixel values 0-255; `whitening` is None or a matrix [H*W*C, H*W*C]."""

    mean: jax.Array  # broadcasts to [H, W, C]
    deviation: jax.Array  # broadcasts to [H, W, C]
    whitening: jax.Array | None

    def __call__(self, images: jax.Array) -> jax.Array:
        """uint8 [B, H, W, C] -> float32 [B, H, W, C]."""
        x = images.astype(jnp.float32)
        if self.whitening is None:
            return (x - self.mean) / self.deviation
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
      mean: "none", of each "channel" or of each "pixel".
      deviation: "none", of each "channel", of each "pixel", or one "scalar".
      whitening: "none", or "zca", which needs mean and deviation "none": it has its own.
    """
    for field, value, choices in [
        ("mean", mean, MEANS),
        ("deviation", deviation, DEVIATIONS),
        ("whitening", whitening, WHITENINGS),
    ]:
        if value not in choices:
            raise errors.unknown(f"preprocessing.{field}", value, choices)
    if whitening == "zca":
        if (mean, deviation) != ("none", "none"):
            raise errors.UserError(
                "preprocessing: ZCA brings its own mean and scale; set mean and deviation to 'none'"
            )
        return fit_zca(train.images)
    axes = {"channel": (0, 1, 2), "pixel": (0,), "scalar": None}
    images = train.images
    centre = images.mean(axes[mean], dtype=np.float64) if mean != "none" else np.zeros(1)
    spread = np.ones(1)
    if deviation != "none":
        spread = np.asarray(images.std(axes[deviation], dtype=np.float64)).reshape(-1)
        spread = spread if deviation != "pixel" else spread.reshape(images.shape[1:])
        spread = np.maximum(spread, 1.0)  # a pixel that never changes, as at the rim of the digits
    return Preprocessing(np.float32(centre), np.float32(spread), None)


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
        return Preprocessing(**({"whitening": None} | dict(arrays)))
