"""A trained network is made ready for one small file, and written; `compressed` reads it again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn_jax import models
from cnn_jax.compression import archive, network
from cnn_jax.compression.calibrate import Calibration
from cnn_jax.data import evaluation_view
from cnn_jax.data.evaluation_view import EvaluationView
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.errors import UserError
from cnn_jax.interop import deep_compression, read
from cnn_jax.runs import pretrained

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
BATCH = 25  # images that calibrate at a time
QUALITY = 7.0  # a bit is worth 10^-7 nats of KL divergence


class Source(NamedTuple):
    """A trained network, and what its compressed file tells besides."""

    model: Any
    variables: dict[str, Any]
    preprocessing: Preprocessing
    view: EvaluationView
    about: dict[str, Any]  # config, class_names, num_classes, image_shape


def open_source(path: Path, step: str) -> Source:
    """Opens a trained network by name, see `pretrained`."""
    if path.suffix == ".net":
        return squeezenet(path)
    opened = pretrained.load(str(path))
    about = {
        "config": opened.config.to_dict(),
        "class_names": list(opened.class_names),
        "num_classes": len(opened.class_names),
        "image_shape": list(opened.image_shape),
    }
    variables = opened.variables(opened.find_step(step))
    view = opened.evaluation_view
    return Source(opened.model, variables, opened.preprocessing, view, about)


def squeezenet(path: Path) -> Source:
    """Reads the authors' network; reverses the input channels of conv1, as their images are BGR."""
    settings = {"name": "squeezenet", "version": "1.0", "conv10_padding": 1}
    view = {"evaluation": read.OF_NET}
    config = {"model": models.options("squeezenet") | settings, "view": view}
    shape = [227, 227, 3]
    about = {"config": config, "class_names": None, "num_classes": 1000, "image_shape": shape}
    options = {name: value for name, value in config["model"].items() if name != "name"}
    variables = deep_compression.read(path)
    conv1 = variables["params"]["conv1"]
    conv1["kernel"] = np.ascontiguousarray(conv1["kernel"][:, :, ::-1])
    return Source(
        models.create("squeezenet", num_classes=1000, **options),
        variables,
        Preprocessing(np.float32([123, 117, 104]), np.ones(1, np.float32), None),
        evaluation_view.create(view, shape),
        about,
    )


def write(path: Path, arrays: Mapping[str, Any], source: Source) -> int:
    """Writes the file, with the preprocessing; returns its size in bytes."""
    own = {name: value for name, value in vars(source.preprocessing).items() if value is not None}
    preprocessing = {f"preprocessing/{name}": np.float32(value) for name, value in own.items()}
    return archive.write(path, {**arrays, **preprocessing}, source.about)


def coded(
    source: Source,
    *,
    lossless: bool = False,
    bits: int | None = None,
    initialization: str = "linear",
    quality: float | None = None,
    images: Path | None = None,
    count: int = 100,
) -> dict[str, Any]:
    """The arrays of the file, see `launch.py compress`; by default in steps of `QUALITY`.

    Args:
      lossless: every value exactly.
      bits, initialization: shared values, see `share.share`.
      quality: a bit is worth 10^-quality nats of KL divergence, see `steps.quantize`.
      images, count: a folder, and how many of its images calibrate the steps.
    """
    if lossless:
        return network.lossless(source.variables)
    if bits:
        return network.shared(source.variables, bits, initialization)
    calibration = None
    if images:
        shown = read_images(images, count, source.view)
        shown = np.asarray(source.preprocessing(shown))
        batches = [shown[i : i + BATCH] for i in range(0, len(shown), BATCH)]
        calibration = Calibration(source.model, source.variables, batches)
    chosen = QUALITY if quality is None else quality
    return network.in_steps(source.variables, 10.0**-chosen, calibration)


def read_images(folder: Path, count: int, view: EvaluationView) -> np.ndarray:
    """The views of `count` images below a folder, evenly spread over its sorted files.

    Returns uint8 [N, H, W, C]. Raises `UserError` where there is none, or one is damaged.
    """
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in IMAGES and not file.name.startswith(".")
    )
    if not files:
        raise UserError(f"no images ({', '.join(IMAGES)}) below {folder}")
    chosen = files[:: max(1, len(files) // count)][:count]
    seen = [view.read(file)[0] for file in chosen]
    if len(shapes := {image.shape for image in seen}) > 1:
        raise UserError(f"the images below {folder} have {len(shapes)} sizes: bring them to one")
    return np.stack(seen)
