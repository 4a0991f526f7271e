"""What a file of a network says of its images and classes, in JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax import files
from cnn_jax.errors import UserError
from cnn_jax.interop.export.exported import Exported


def facts(network: Exported, raw: bool) -> dict[str, Any]:
    """Network, input, view, preprocessing and class names.

    Raises `UserError` where images cannot be described: whitened ones, with `raw`.
    """
    own = network.preprocessing
    if raw and own.whitening is not None:
        raise UserError(
            "no JSON can tell people the matrix of ZCA whitening: --to=onnx and stablehlo have it "
            "inside, without --raw"
        )
    # In pixel values 0-255, for the channels in the order of the images.
    steps = {"mean": np.asarray(own.mean).tolist(), "std": np.asarray(own.std).tolist()}
    if own.channels is not None:
        steps["channels"] = np.asarray(own.channels).tolist()
    if own.whitening is not None:
        steps["whitening"] = "zca"
    settings = dict(network.settings)
    if "auxiliary" in settings:  # classifiers that only a training has
        settings["auxiliary"] = "none" if isinstance(settings["auxiliary"], str) else False
    return {
        "model": settings,
        "input": {
            "name": "images",
            "dtype": "float32" if raw else "uint8",
            "shape": ["batch", *network.image_shape],
        },
        "view": network.view,
        "preprocessing": steps,
        "class_names": network.class_names,
    }


def beside(out: Path, about: dict[str, Any]) -> Path:
    """The JSON file beside a file; raises `UserError` where it describes another network."""
    place = out.with_suffix(".json")
    if place.exists() and files.read_json(place) != json.loads(json.dumps(about)):
        raise UserError(f"{place} describes another network, not {out.name}: remove it")
    return place


def write(about: dict[str, Any], place: Path) -> str:
    """Writes the JSON file; returns the line to tell."""
    files.write_json(place, about)
    dtype, shape = about["input"]["dtype"], about["input"]["shape"]
    axes, classes = ", ".join(map(str, shape)), len(about["class_names"])
    return f"{place}: says that it takes {dtype} images [{axes}], and names its {classes:,} classes"
