"""What all formats take: a trained network, with what people need to use it."""

import importlib
from types import ModuleType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from cnn_jax import errors, models
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.models.residual_units import unrolled

# Each is a module here with `write(network, out, **options) -> list[str]`, the lines to tell, and
# `OPTIONS`, the names of its options. It is imported, with its library, only when it is asked for.
FORMATS = {
    "onnx": "one file for ONNX Runtime, in browsers too",
    "stablehlo": "one file for JAX alone, on CPUs, GPUs and TPUs",
    "safetensors": "arrays by torchvision's or timm's names",
    "torch": "the same as a .pth file",
    "keras": "weights of keras.applications",
    "hub": "a folder for the Hugging Face Hub, with a model card",
}


class Exported(NamedTuple):
    """A trained network, with what people need to use it."""

    name: str  # for files and cards
    settings: dict[str, Any]  # arguments of `models.create`: the family as "name", "num_classes"
    model: nn.Module
    variables: dict[str, Any]  # {"params", "batch_stats"}, float32 NumPy
    preprocessing: Preprocessing  # from uint8 images to what the network was trained on
    view: dict[str, Any]  # what is cut out of an image: size, resize, kind, frame, filters, ...
    image_shape: tuple[int, int, int]  # of the view: height, width, channels
    class_names: tuple[str, ...]
    recipe: dict[str, Any] | None  # `Run.record()`; None of weights from elsewhere


def create(settings: dict[str, Any], variables: dict[str, Any], **about: Any) -> Exported:
    """`Exported` of arguments of `models.create`, computed in float32, its stages unrolled."""
    fixed = {"dtype": "float32", "unroll": True, "remat": False}
    known = models.options(settings["name"])
    fixed = {option: value for option, value in fixed.items() if option in known}
    settings = known | settings | fixed
    variables = jax.tree.map(np.float32, unrolled({"batch_stats": {}} | dict(variables)))
    return Exported(
        settings=settings, model=models.create(**settings), variables=variables, **about
    )


def writer(name: str) -> ModuleType:
    """The module of a format; raises `UserError` for an unknown one, with the list of all."""
    if name not in FORMATS:
        raise errors.unknown("format", name, FORMATS)
    return importlib.import_module(f"cnn_jax.interop.export.{name}")
