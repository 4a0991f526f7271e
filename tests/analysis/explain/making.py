"""A small run whose explanations can be computed by hand, and axes to draw on."""

import functools
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.evaluation.predict import Predictions
from cnn_jax.models import layers
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.runs.compressed import NetworkRun

SIDE, CLASSES = 8, ("cat", "dog", "ox")
IMAGES = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)


class Tiny(nn.Module):
    """A convolution of stride 2, ReLU, mean, linear: its maps are a class activation map."""

    num_classes: int = len(CLASSES)

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Conv(4, (3, 3), strides=2, padding=1, name="conv1")(images)
        x = layers.BatchNorm(name="bn1")(x, train)
        x = nn.relu(x).mean((1, 2))
        return nn.Dense(self.num_classes, name="fc")(x)


class SmallRun(NetworkRun):
    """It, with random weights; pixels are divided by 64 after 128 is subtracted."""

    path, config = Path("small"), ConfigDict()
    model = Tiny()
    preprocessing = Preprocessing(np.full(3, 128, np.float32), np.full(1, 64, np.float32), None)

    def __init__(self):
        self._dataset = {"class_names": CLASSES, "image_shape": (SIDE, SIDE, 3)}
        random = np.random.default_rng(0)
        image = np.zeros((1, SIDE, SIDE, 3), np.float32)
        shapes = dict(eval_shape(self.model.init, jax.random.key(0), image))
        self._variables = jax.tree.map(
            lambda leaf: random.standard_normal(leaf.shape, np.float32), shapes
        )
        norm = self._variables["params"]["bn1"] | self._variables["batch_stats"]["bn1"]
        for name, array in norm.items():
            array[:] = float(name in ("scale", "var"))

    def variables(self, step="last", weights=None):
        return self._variables

    def by_hand(self, images=IMAGES):
        """The maps after the ReLU [B, h, w, 4], and the kernel of the classifier [4, classes]."""
        own = self._variables["params"]
        x = (images.astype(np.float32) - 128) / 64
        x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        kernel, half = own["conv1"]["kernel"], SIDE // 2
        y = own["conv1"]["bias"] + sum(
            x[:, i : i + SIDE : 2, j : j + SIDE : 2] @ kernel[i, j] for i, j in np.ndindex(3, 3)
        )
        assert y.shape[1:] == (half, half, 4)
        return np.maximum(y / np.sqrt(1 + 1e-5), 0), own["fc"]["kernel"]


@functools.cache
def small_run():
    """One for all tests that do not change it: its programs are compiled once."""
    return SmallRun()


def axes():
    """New axes to draw on."""
    return Figure(figsize=(4, 3)).subplots()


def answers(logits, labels, names=CLASSES):
    """Answers of these logits; the i-th image has the color i."""
    from cnn_jax.analysis.explain.answers import Answers

    labels = np.asarray(labels, np.int32)
    predictions = Predictions(np.arange(len(labels)), labels, np.asarray(logits, np.float32))
    return Answers(predictions, names, lambda i: np.full((4, 4, 3), i, np.uint8))
