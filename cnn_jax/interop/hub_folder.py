"""Folders as the Hugging Face hub has them: what stands beside weights of timm and transformers."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax import files
from cnn_jax.errors import UserError, first_line
from cnn_jax.interop.recognize import Trained
from cnn_jax.interop.sources.layout import Images

# The files of weights in such a folder, the likeliest first.
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.json", "model.onnx")
STRIDES = {True: "1x1", False: "3x3"}  # of Hugging Face's `downsample_in_bottleneck`


def weights_of(folder: Path) -> Path:
    """The file of weights in a folder; raises `UserError` where there is none."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder} has no weights: none of {', '.join(WEIGHTS)}")


def described(found: Trained, file: Path) -> Trained:
    """The weights of a file with what JSON beside it says of images and classes.

    That is the file of the same name that `launch.py export` writes, or `config.json`.
    """
    own = file.with_suffix(".json")
    path = own if own.is_file() else file.with_name("config.json")
    if not path.is_file() or found.source == "cnn_jax":
        return found
    facts = files.read_json(path)
    if not isinstance(facts, Mapping):
        return found
    try:
        if {"preprocessing", "class_names"} <= facts.keys():
            return exported(found, facts)
        if "pretrained_cfg" in facts:
            return of_timm(found, facts)
        if found.source == "Hugging Face" and facts.get("model_type") == "resnet":
            return of_transformers(found, facts, file.with_name("preprocessor_config.json"))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}") from None
    return found


def exported(found: Trained, facts: Mapping[str, Any]) -> Trained:
    """What `export.about` says; the mean may be one of each pixel, which `Images` does not have."""
    shape, steps = tuple(facts["input"]["shape"][1:]), facts["preprocessing"]
    sizes = [np.shape(np.float32(steps[name])) for name in ("mean", "std")]
    if len(shape) != 3 or np.broadcast_shapes(*sizes, shape) != shape:
        raise ValueError(f"means of {sizes[0]} and deviations of {sizes[1]} for images of {shape}")
    names = names_of(found, facts["class_names"])
    more = {"class_names": names, "view": dict(facts["view"]), "facts": dict(facts)}
    return found._replace(images=images_in(facts), **more)


def of_timm(found: Trained, facts: Mapping[str, Any]) -> Trained:
    """timm's `pretrained_cfg` has the preprocessing, and perhaps names of the classes."""
    about = facts["pretrained_cfg"]
    size = about.get("input_size", (3, 224, 224))[-1]
    images = images_of(size, about.get("mean"), about.get("std")) or found.images
    labels = facts.get("label_names") or about.get("label_names") or ()
    view = {
        "kind": "center",
        "size": size,
        "resize": math.floor(size / about.get("crop_pct", 0.875)),
        "frame": "squash" if about.get("crop_mode") == "squash" else "full",
        "filters": [about.get("interpolation", "bilinear")],
        "dct_scaling": False,
    }
    names = names_of(found, labels)
    return found._replace(source="timm", images=images, class_names=names, view=view)


def of_transformers(found: Trained, facts: Mapping[str, Any], preprocessor: Path) -> Trained:
    """transformers keeps the preprocessing in a file of its own."""
    images = found.images
    if preprocessor.is_file():
        about = files.read_json(preprocessor)
        size = about.get("size", 224)
        size = size if isinstance(size, int) else size.get("shortest_edge", size.get("height", 224))
        images = images_of(size, about.get("image_mean"), about.get("image_std")) or images
    labels = facts.get("id2label", {})
    names = names_of(found, [labels[key] for key in sorted(labels, key=int)])
    model = found.model | {"stride_in": STRIDES[bool(facts.get("downsample_in_bottleneck"))]}
    return found._replace(model=model, images=images, class_names=names)


def images_of(size: int, mean: Any, std: Any) -> Images | None:
    """What weights expect of images, if the file says it."""
    return Images(size, tuple(mean), tuple(std)) if mean and std else None


def images_in(facts: Mapping[str, Any]) -> Images | None:
    """What weights expect of images by the facts of `export.about`; None where pixels differ."""
    size, _, channels = facts["input"]["shape"][1:]
    if channels not in (1, 3):
        raise ValueError(f"{channels!r} channels")
    own, values = facts["preprocessing"], []
    for name in ("mean", "std"):
        pixels = np.atleast_1d(np.float64(own[name]))
        pixels = pixels.reshape(-1, pixels.shape[-1])
        if (pixels != pixels[0]).any():
            return None
        values.append(tuple(np.round(np.broadcast_to(pixels[0] / 255, channels), 6).tolist()))
    if "channels" not in own:
        return Images(size, *values)
    mean, std = (tuple(each[i] for i in own["channels"]) for each in values)
    return Images(size, mean, std, "bgr")


def names_of(found: Trained, labels: Any) -> tuple[str, ...] | None:
    """The names of the classes, if there is one for each; "LABEL_3" is none."""
    if len(labels) != found.model["num_classes"]:
        return None
    if all(re.fullmatch(r"LABEL_\d+", label) for label in labels):
        return None
    return tuple(labels)
