"""Trained networks by name: a run, a file, or what a library or a hub has.

    runs/wrn, network.cnn            a run, or a file of `launch.py compress`
    resnet50.pth, squeezenet.net     a file of weights, see docs/weights.md
    torchvision:resnet50             torchvision's best weights of this name, or
    torchvision:resnet50/IMAGENET1K_V1   those of the name after the stroke
    hub:timm/resnet18.a1_in1k        a repository of the Hugging Face Hub, or REVISION@OWNER/NAME

What is downloaded lies in the cache of the library that it is from, and is verified.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import models
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.errors import UserError
from cnn_jax.interop import formats, read, recognize
from cnn_jax.interop.sources import layout
from cnn_jax.runs import compressed
from cnn_jax.runs.compressed import NetworkRun
from cnn_jax.runs.open import load_run
from cnn_jax.runs.run import Run

SIZE = 224
RESIZE = 256 / 224  # the shorter side of an image, where a source tells the size of its crop alone
VIEW = {"kind": "center", "frame": "full", "filters": ["bilinear"], "dct_scaling": False}


class PretrainedRun(NetworkRun):
    """Weights of a known network, with what they tell of their images and classes."""

    def __init__(self, name: str, trained: read.Trained):
        self.path = Path(name)
        self._variables, self.images, self.facts = trained.variables, trained.images, trained.facts
        settings = dict(trained.model)
        classes = settings.pop("num_classes")
        about = {"model": models.options(settings["name"]) | settings}
        size = trained.images.size if trained.images else SIZE
        view = trained.view
        if view is None and trained.images:
            view = VIEW | {"size": size, "resize": round(size * RESIZE)}
        if view and view["kind"] != "full":  # which is that of the image's shape
            about["view"] = {"evaluation": view}
        self.config = ConfigDict(about).lock()
        channels = len(trained.images.mean) if trained.images else 3
        shape = tuple(self.facts["input"]["shape"][1:]) if self.facts else (size, size, channels)
        names = trained.class_names or tuple(map(str, range(classes or 0)))
        self._dataset = {"class_names": names, "image_shape": shape}

    @functools.cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers."""
        if not self._dataset["class_names"]:
            raise UserError(f"{self.path} has no classifier: training can start from it")
        return self._dataset["class_names"]

    @property
    def preprocessing(self) -> Preprocessing:
        """From uint8 images to what the network was trained on."""
        if self.facts:
            steps = {k: np.float32(v) for k, v in self.facts["preprocessing"].items()}
            return compressed.preprocessing(steps)
        if self.images is None:
            raise UserError(f"{self.path} does not say how its images are normalized")
        return preprocessing(self.images)

    def variables(self, step: int | str = "last", weights: str | None = None) -> dict[str, Any]:
        """`{"params", "batch_stats"}` as NumPy arrays."""
        del step
        if weights not in (None, "raw"):
            raise UserError(f"{self.path} has no weights {weights!r}")
        return {"batch_stats": {}} | self._variables


def preprocessing(images: layout.Images) -> Preprocessing:
    """What brings pixel values 0-255 to those that the weights expect."""
    mean, std = (255 * np.float32(values) for values in (images.mean, images.std))
    if images.channels == "rgb":
        return Preprocessing(mean, std, None)
    # The mean of a `Preprocessing` is in the order of the images, before the channels change.
    return Preprocessing(mean[::-1], std[::-1], None, np.array([2, 1, 0], np.int32))


def load(name: str) -> Run:
    """Opens a trained network; raises `UserError` where there is none, or it is not recognized."""
    source, colon, rest = name.partition(":")
    if colon and source in ("torchvision", "hub"):
        from cnn_jax.runs import downloads

        return PretrainedRun(name, downloads.SOURCES[source](rest))
    path = found(name)
    if is_run(path):
        return load_run(path)
    if not path.exists():
        raise UserError(
            f"no trained network {name}: it is a run, a file, torchvision:NAME or hub:OWNER/NAME"
        )
    return PretrainedRun(name, read.trained(path))


def found(name: str) -> Path:
    """The file of a name, from here or, of those that come with cnn_jax, below its home."""
    path, ours = Path(name).expanduser(), configs.HOME / name
    return ours if not path.exists() and ours.exists() else path


def is_run(path: Path) -> bool:
    """Whether a path is a run, and not a folder with a `config.json` of another library."""
    if path.is_dir():
        return (path / "status.json").exists() or not (path / "config.json").exists()
    return path.is_file() and compressed.is_one(path)


def weights(name: str) -> tuple[dict[str, Any], Run | None]:
    """The variables of a name, and the network that they are of, where the source tells it.

    Files with our own names of arrays, as `launch.py convert` writes them, tell it not.
    """
    path = found(name)
    if path.is_file() and path.suffix in formats.SUFFIXES and not is_run(path):
        arrays = formats.by_name(path)
        if any(key.startswith("params/") for key in arrays):
            return {"batch_stats": {}} | read.nested(path, arrays), None
    run = load(name)
    return run.variables(), run


def expected(name: str | None, mean: str, std: str, whitening: str) -> Preprocessing:
    """What the weights of a name expect of images, as `preprocessing.mean` and `std` "weights"."""
    if (mean, std, whitening) != ("weights", "weights", "none") or name is None:
        raise UserError(
            "preprocessing: mean and std are 'weights' both, without whitening, and init.weights "
            "names them",
            2,
        )
    run = weights(name)[1]
    if run is None:
        raise UserError(f"{name} does not say how its images are normalized: set preprocessing", 2)
    return run.preprocessing


def which_network(run: Run | None, model: Mapping[str, Any]) -> str:
    """What a message adds where weights do not fit the group `model`: the network that they fit."""
    if run is None or not (other := differences(run, model)):
        return ""
    fields = " ".join(f"--config.model.{name}={there}" for name, (there, _) in other.items())
    return f"; they are of another network: {fields}"


def deviations(
    run: Run | None, model: Mapping[str, Any], preprocessing: Preprocessing
) -> list[str]:
    """In what a network and its images are not those of the weights that it starts from."""
    if run is None:
        return []
    lines = [
        f"note: model.{name} is {here}, and {there} where the weights were trained"
        for name, (there, here) in differences(run, model).items()
    ]
    theirs = run.preprocessing if is_normalized(run) else preprocessing
    if not is_alike(theirs, preprocessing):
        lines.append(
            f"warning: images become {about(preprocessing)}, and the weights expect "
            f"{about(theirs)}: --config.preprocessing.mean=weights --config.preprocessing.std="
            "weights takes these"
        )
    return lines


def differences(run: Run, model: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The options, there and here, in which a network is another function of its weights."""
    theirs, ours = run.config.model.to_dict(), dict(model)
    if theirs["name"] != ours["name"]:
        return {"name": (theirs["name"], ours["name"])} | {
            name: (value, "no option")
            for name, value in theirs.items()
            if name not in (*recognize.OF_TRAINING, "name")
            and value != models.options(theirs["name"])[name]
        }
    return recognize.differences(theirs, ours)


def is_normalized(run: Run) -> bool:
    """Whether a network says what it expects of images."""
    return not isinstance(run, PretrainedRun) or bool(run.images or run.facts)


def is_alike(one: Preprocessing, other: Preprocessing) -> bool:
    """Whether the means of all channels differ by at most 1 of 255, and the deviations by 2 %."""
    if (one.whitening is None) != (other.whitening is None):
        return False
    means, deviations, orders = zip(*(by_channel(each) for each in (one, other)), strict=True)
    return (
        orders[0] == orders[1]
        and bool(np.all(np.abs(means[0] - means[1]) <= 1))
        and bool(np.all(np.abs(deviations[0] / deviations[1] - 1) <= 0.02))
    )


def by_channel(preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Mean and standard deviation of each channel, or of all, and the order of the channels."""
    mean, std = (
        np.asarray(values).reshape(-1, np.shape(values)[-1]).mean(0)
        for values in (preprocessing.mean, preprocessing.std)
    )
    order = () if preprocessing.channels is None else tuple(map(int, preprocessing.channels))
    return mean, std, order


def about(preprocessing: Preprocessing) -> str:
    """A preprocessing for people."""
    if preprocessing.whitening is not None:
        return "whitened"
    mean, std, order = by_channel(preprocessing)
    numbers = [", ".join(f"{value:.4g}" for value in values) for values in (mean, std)]
    return f"(x - ({numbers[0]})) / ({numbers[1]}){' in the order BGR' if order else ''}"
