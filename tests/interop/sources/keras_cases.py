"""Networks of `keras.applications`, as Keras 3 saves them in each of its formats."""

import os
from pathlib import Path

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")

from cnn_jax.interop import formats
from tests.interop.readers import writing
from tests.interop.sources.cases import Case, images

SIZES = {"InceptionV3": 75}


def of_keras(name, suffix):
    """A case's `make` for a network of `keras.applications`; its last layer gives logits."""

    def make(folder: Path):
        import keras

        keras.utils.set_random_seed(0)
        side = SIZES.get(name, 64)
        build = getattr(keras.applications, name)
        options = {"weights": None, "classes": 7, "classifier_activation": None}
        network = build(input_shape=(side, side, 3) if "VGG" not in name else None, **options)
        batch = images(side if "VGG" not in name else 224, 1)
        random = np.random.default_rng(1)
        for layer in network.layers:
            layer.set_weights([drawn(random, one) for one in layer.get_weights()])
        path = folder / f"a{suffix}"
        (network.save_weights if suffix == ".weights.h5" else network.save)(path)
        return path, batch, np.asarray(network(batch, training=False))

    return make


def drawn(random: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """A kernel as it is, anything else near one."""
    return array if array.ndim > 1 else random.uniform(0.5, 1.5, array.shape).astype(np.float32)


CASES = tuple(
    Case("Keras", f"{name}, `{suffix}`", of_keras(name, suffix), "Keras 3 on JAX", True, "keras")
    for name, suffix in [
        ("ResNet50", ".weights.h5"),
        ("ResNet50", ".keras"),
        ("ResNet101", ".h5"),
        ("InceptionV3", ".weights.h5"),
        ("VGG16", ".keras"),
    ]
)

# TF-slim's names of the convolutions, in the order in which Keras makes them: branch:name.
STEM = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"]
_35 = "0:0a_1x1 1:0a_1x1 1:0b_5x5 2:0a_1x1 2:0b_3x3 2:0c_3x3 3:0b_1x1"
_17 = "0:0a_1x1 1:0a_1x1 1:0b_1x7 1:0c_7x1 2:0a_1x1 2:0b_7x1 2:0c_1x7 2:0d_7x1 2:0e_1x7 3:0b_1x1"
MIXED = {
    "5b": _35,
    "5c": _35.replace("1:0a_1x1 1:0b_5x5", "1:0b_1x1 1:Conv_1_0c_5x5"),
    "5d": _35,
    "6a": "0:1a_1x1 1:0a_1x1 1:0b_3x3 1:1a_1x1",
    **dict.fromkeys(("6b", "6c", "6d", "6e"), _17),
    "7a": "0:0a_1x1 0:1a_3x3 1:0a_1x1 1:0b_1x7 1:0c_7x1 1:1a_3x3",
    "7b": "0:0a_1x1 1:0a_1x1 1:0b_1x3 1:0b_3x1 2:0a_1x1 2:0b_3x3 2:0c_1x3 2:0d_3x1 3:0b_1x1",
    "7c": "0:0a_1x1 1:0a_1x1 1:0b_1x3 1:0c_3x1 2:0a_1x1 2:0b_3x3 2:0c_1x3 2:0d_3x1 3:0b_1x1",
}


def slim_names():
    """Of the 94 convolutions."""
    found = [f"InceptionV3/{name}" for name in STEM]
    for module, names in MIXED.items():
        for branch, name in (one.split(":") for one in names.split()):
            name = name if name.startswith("Conv") else f"Conv2d_{name}"
            found.append(f"InceptionV3/Mixed_{module}/Branch_{branch}/{name}")
    return found


def of_slim(folder: Path):
    """A case's `make`: Keras's Inception-v3 as a checkpoint of TensorFlow 1 with slim's names."""
    path, batch, expected = of_keras("InceptionV3", ".weights.h5")(folder)
    arrays = {}
    for name, array in formats.by_name(path).items():
        layer, kind = name.split("/")
        number = layer.rpartition("_")[2]
        if layer.startswith("conv2d"):
            arrays[f"{slim_names()[int(number)]}/weights"] = array
        elif layer.startswith("batch"):
            arrays[f"{slim_names()[int(number)]}/BatchNorm/{kind}"] = array
        else:
            own = {"kernel": "weights", "bias": "biases"}[kind]
            array = array[None, None] if kind == "kernel" else array
            arrays[f"InceptionV3/Logits/Conv2d_1c_1x1/{own}"] = array
    (folder / "inception_v3.ckpt").write_bytes(writing.tf_slices(arrays))
    return folder / "inception_v3.ckpt", batch, expected


CASES += (Case("TF-slim", "Inception-v3", of_slim, "Keras 3 on JAX, renamed", True, "keras"),)
