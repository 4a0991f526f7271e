"""Weights of networks of `keras.applications`, as Keras 3 saves them; it needs h5py.

network = keras.applications.ResNet50(weights=None, classes=10)
network.load_weights("network.weights.h5")
"""

import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax import files
from cnn_jax.errors import UserError
from cnn_jax.interop import recognize
from cnn_jax.interop.export import about, named
from cnn_jax.interop.export.exported import Exported
from cnn_jax.interop.readers.keras import LAYER_ARRAYS

OPTIONS = ()
SUFFIX = ".weights.h5"
NETWORKS = {
    **{f"ResNet{depth}": {"name": "resnet", "depth": depth} for depth in (50, 101, 152)},
    **{f"VGG{depth}": {"name": "vgg", "depth": depth} for depth in (16, 19)},
    "InceptionV3": {"name": "inception_v3"},
}


def write(network: Exported, out: Path) -> list[str]:
    """Writes the weights, and what they expect of images as JSON beside them.

    Raises `UserError` for a network that Keras does not have.
    """
    if not out.name.endswith(SUFFIX):
        raise UserError(f"Keras reads weights from files called {SUFFIX}, not {out.name}", 2)
    name, arrays = named_arrays(network)
    facts = about.facts(network, raw=True)
    place = about.beside(out, facts)
    files.write_bytes(out, content(arrays))
    classes = len(network.class_names)
    told = f"keras.applications.{name}(weights=None, classes={classes}).load_weights"
    return [f'{out}: for {told}("{out.name}")', about.write(facts, place)]


def named_arrays(network: Exported) -> tuple[str, dict[str, np.ndarray]]:
    """Keras's name of the network, and its arrays there."""
    settings = dict(network.settings)
    for name, known in NETWORKS.items():
        if known.items() <= settings.items():
            layout = named.table(network, ("Keras",))
            own = {k: v for k, v in {**known, **layout.options}.items() if k != "name"}
            if other := named.differences(network, own):
                told = ", ".join(f"{k}={there}, not {here}" for k, (there, here) in other.items())
                raise UserError(f"Keras's {name} has {told}")
            return name, named.arrays(layout, network)
    raise UserError(
        f"Keras has no {recognize.named(settings)}: it has {', '.join(NETWORKS)}; "
        "--to=onnx takes every network"
    )


def content(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An HDF5 file; Keras finds a layer by its kind, and by how many of that come before it."""
    try:
        import h5py
    except ImportError:
        raise UserError("Keras's files are HDF5: pip install h5py writes it") from None
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        layer, _, kind = name.rpartition("/")
        layers.setdefault(layer, {})[kind] = array
    file, counted = io.BytesIO(), Counter()
    with h5py.File(file, "w") as written:
        for layer, own in layers.items():
            kind = kind_of(own)
            place = f"{kind}_{counted[kind]}" if counted[kind] else kind
            counted[kind] += 1
            group = written.create_group(f"layers/{place}/vars")
            group.attrs["name"] = layer
            for i, array in enumerate(LAYER_ARRAYS[len(own)]):
                group[str(i)] = own[array]
    return file.getvalue()


def kind_of(arrays: Mapping[str, Any]) -> str:
    """What Keras's files call the kind of a layer with these arrays."""
    if "kernel" not in arrays:
        return "batch_normalization"
    return "conv2d" if arrays["kernel"].ndim == 4 else "dense"
