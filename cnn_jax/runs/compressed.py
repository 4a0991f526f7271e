"""A network from one file, with what a run would tell of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_jax import models, old_names
from cnn_jax.compression import archive
from cnn_jax.data.preprocess import Preprocessing, from_arrays
from cnn_jax.errors import UserError, first_line
from cnn_jax.interop import formats, read
from cnn_jax.interop.readers import onnx
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd


# What code meets in a description that is none.
OF_OTHERS = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)


class NetworkRun(Run):
    """A trained network without its training: a subclass sets what a run would read from files."""

    status = "done"

    @property
    def history(self) -> "pd.DataFrame":
        """Empty: the file does not tell how the network was trained."""
        import pandas as pd

        return pd.DataFrame()

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        """Empty, like `history`."""
        return {}

    @property
    def steps(self) -> list[int]:
        """One checkpoint, called 0."""
        return [0]

    def find_step(self, step: int | str) -> int:
        """0, the only one, for "last" and "best"."""
        return 0 if step == "best" else super().find_step(step)


class CompressedRun(NetworkRun):
    """What `launch.py compress` wrote: model, variables, preprocessing and names of the classes.

    Raises `UserError` for a file that is something else, damaged, or does not fit its network.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._archive = self._read()
        about = self._archive.about
        try:
            self.config = ConfigDict(old_names.config(about["config"])).lock()
            names, classes = list(about["class_names"] or ()), about["num_classes"]
            shape = about["image_shape"]
            self.preprocessing = preprocessing(self._archive.variables["preprocessing"])
            settings = self.config.model.to_dict()
            self.model = models.create(settings.pop("name"), num_classes=classes, **settings)
            image = jax.ShapeDtypeStruct((1, *shape), np.float32)
            expected = eval_shape(self.model.init, jax.random.key(0), image)
            jax.eval_shape(self.preprocessing, image)
            shapes = jax.tree.map(np.shape, self.variables())
        except OF_OTHERS as error:
            raise UserError(f"{path} describes no network: {first_line(error)}") from None
        if shapes != jax.tree.map(np.shape, {"batch_stats": {}} | dict(expected)):
            raise UserError(f"{path} has other weights than its network, {self.config.model.name}")
        # Only here `classes` is known to match the weights; a damaged file could name any number.
        names = names or list(map(str, range(classes)))
        if len(names) != classes:
            raise UserError(f"{path} has {len(names)} names for {classes} classes")
        self._dataset = {"class_names": names, "image_shape": shape}

    def _read(self) -> archive.Archive:
        return archive.read(self.path)

    def variables(self, step: int | str = "last", weights: str | None = None) -> dict[str, Any]:
        """`{"params", "batch_stats"}` as NumPy arrays; there is one kind of `weights`."""
        del step
        kept = self.config.evaluation.weights if "evaluation" in self.config else "raw"
        if weights not in (None, kept):
            raise UserError(f"{self.path} has no weights {weights!r}; it was made of {kept!r} ones")
        return {name: self._archive.variables.get(name, {}) for name in ("params", "batch_stats")}


class ExportedRun(CompressedRun):
    """What `launch.py export --to=onnx` wrote."""

    def _read(self) -> archive.Archive:
        variables = read.nested(self.path, formats.by_name(self.path))
        try:
            about = onnx.about(self.path)
            settings, steps = dict(about["model"]), about["preprocessing"]
            classes = settings.pop("num_classes")
            is_full = about["view"]["kind"] == "full"  # at the size of the images
            view = {} if is_full else {"view": {"evaluation": about["view"]}}
            about |= {"config": {"model": settings} | view, "num_classes": classes}
            about["image_shape"] = about["input"]["shape"][1:]
            if steps.pop("whitening", None):
                steps["whitening"] = onnx.initializers(self.path)[1]["preprocessing/whitening"]
            steps = {name: np.float32(values) for name, values in steps.items()}
        except OF_OTHERS as error:
            raise UserError(f"{self.path} describes no network: {first_line(error)}") from None
        return archive.Archive(variables | {"preprocessing": steps}, about, {})


def load(path: Path) -> CompressedRun:
    """The network in a file of `launch.py compress` or `export --to=onnx`."""
    return (ExportedRun if is_onnx(path) else CompressedRun)(path)


def is_one(path: Path) -> bool:
    """Whether `load` takes a file."""
    return archive.is_archive(path) or is_onnx(path)


def is_onnx(path: Path) -> bool:
    return path.suffix == ".onnx" and onnx.is_exported(path)


def preprocessing(arrays: dict[str, np.ndarray]) -> Preprocessing:
    """That of a compressed network, in which the order of channels is of floats as all else."""
    order = {"channels": np.int32(arrays["channels"])} if "channels" in arrays else {}
    return from_arrays(arrays | order)
