"""A run, read back: in a notebook, on any machine, whatever devices it was trained on."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.errors import UserError
from cnn_jax.files import read_json, read_undamaged
from cnn_jax.runs import metrics, results
from cnn_jax.runs.directory import FIELDS, MEASUREMENTS, read_config, read_status
from cnn_jax.runs.environment import MATMUL, pinned_jax

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """What a run directory tells; nothing is read, no device touched, before it is asked for."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "config.json").is_file():
            found = sorted(str(p.parent) for p in self.path.glob("*/config.json"))
            hint = f"; it holds the runs {', '.join(found)}" if found else ""
            raise UserError(f"{path} is not a run: it has no config.json{hint}")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.status})"

    @functools.cached_property
    def config(self) -> ConfigDict:
        """The locked config that it was started with."""
        with made_again():
            return read_config(self.path)

    @property
    def status(self) -> str:
        """One of "running" (or killed), "done", "diverged", "preempted" or "failed"."""
        return read_status(self.path)["status"]

    @property
    def history(self) -> "pd.DataFrame":
        """A row per line of `metrics.jsonl`: step, epoch, split, loss, top1_error (0-1), ..."""
        import pandas as pd

        return pd.DataFrame(metrics.read(self.path))

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        """The last numbers of each split: `summary["test"]["top1_error"]`."""
        return metrics.summary(self.path)

    @property
    def evaluations(self) -> "pd.DataFrame":
        """A row for each evaluation that `launch.py eval` left: protocol, weights, step, errors."""
        import pandas as pd

        return pd.DataFrame(results.read(self.path / results.FOLDER))

    def record(self) -> dict[str, Any]:
        """The run as one small JSON value: its last numbers, and its curve by evaluations."""
        return {
            "config": self.config.to_dict(),
            "environment": read_undamaged(self.path / "environment.json", {}, "later"),
            "status": self.status,
            "summary": self.summary,
            "evaluations": metrics.by_evaluations(self.path),
            "protocols": results.read(self.path / results.FOLDER),
            "measurements": self.measurements,
        }

    @property
    def measurements(self) -> dict[str, float]:
        """What was measured besides training, by metric; empty for most runs."""
        return read_undamaged(self.path / MEASUREMENTS, {})

    @functools.cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""
        return tuple(self._dataset["class_names"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that it was trained on."""
        return tuple(self._dataset["image_shape"])

    @functools.cached_property
    def _dataset(self) -> dict[str, Any]:
        file = self.path / "dataset.json"
        if not file.exists():
            raise UserError(f"{self.path} stopped before it began to train")
        with made_again():
            return read_json(file, *FIELDS["dataset.json"])

    @functools.cached_property
    def model(self) -> Any:
        """The Linen module."""
        from cnn_jax import models

        return configs.call(
            models.create, "model", self.config.model, num_classes=len(self.class_names)
        )

    @functools.cached_property
    def preprocessing(self) -> Any:
        """From uint8 images to what the network was trained on."""
        from cnn_jax.data import preprocess

        with made_again():
            return preprocess.load(self.path / "preprocessing.npz")

    @property
    def steps(self) -> list[int]:
        """The steps of its checkpoints."""
        from cnn_jax.runs import checkpoints

        return checkpoints.saved_steps(self.path / "checkpoints")

    def find_step(self, step: int | str) -> int:
        """The checkpoint that "best" (lowest validation error), "last" or a number means."""
        from cnn_jax.runs import checkpoints

        if not self.steps:
            raise UserError(f"{self.path} has no checkpoint yet")
        if step == "last":
            return self.steps[-1]
        if step == "best":
            found = checkpoints.best_step(self.path / "checkpoints")
            if found is None:
                raise UserError(f"{self.path} has no validation split to choose by; take 'last'")
            return found
        if not str(step).isdecimal() or int(step) not in self.steps:
            have = ", ".join(map(str, self.steps))
            raise UserError(f"{self.path} has no checkpoint {step!r}; it has best, last, {have}")
        return int(step)

    def variables(self, step: int | str = "last", weights: str | None = None) -> dict[str, Any]:
        """`{"params", "batch_stats"}` as NumPy arrays.

        Args:
          step: "best", "last" or a number.
          weights: "raw", or "ema" for their averages; None takes those that the run evaluates.
        """
        from cnn_jax.runs import checkpoints

        found = self.find_step(step)
        directory = self.path / "checkpoints"
        which = self.config.evaluation.weights if weights is None else weights
        if which == "raw":
            return checkpoints.load_arrays(directory, found, ("params", "batch_stats"))
        if which != "ema" or not self.config.ema.decay:
            raise UserError(
                f"{self.path} has no weights {which!r}; it keeps raw ones"
                + (" and ema" if self.config.ema.decay else "")
            )
        return checkpoints.load_arrays(directory, found, ("ema",))["ema"]

    @functools.cached_property
    def evaluation_view(self) -> Any:
        """What `eval` and `predict` see of an image, see `cnn_jax.data.evaluation_view`."""
        from cnn_jax.data import evaluation_view

        view = self.config.view if "view" in self.config else {}
        return evaluation_view.create(view, self.image_shape)

    def predict(self, images: Sequence[np.ndarray], step: int | str = "last") -> np.ndarray:
        """Probabilities [B, classes] of images of any size, as `eval` sees them.

        Args:
          images: uint8 [B, H, W, C], or a list of [H, W, C] of several sizes. The evaluation view
            is cut out of each; where it is all of the image, another size than that in training is
            resized to cover it, and center cropped.
        """
        import jax

        logits = self.logits(self.views(images, "predict"), step)
        return np.asarray(jax.nn.softmax(logits))

    def views(self, images: Sequence[np.ndarray], method: str) -> list[np.ndarray]:
        """The evaluation view of each image; `method` is the name of the asker, for messages."""
        view = self.evaluation_view
        for image in images:
            shape, kind = np.shape(image), getattr(image, "dtype", type(image).__name__)
            if kind != np.uint8 or len(shape) != 3 or shape[2] != view.channels or 0 in shape:
                raise UserError(
                    f"{method} takes uint8 images [B, H, W, {view.channels}], not {kind} images "
                    f"{list(shape)}"
                )
        return [view.cut_array(image) for image in images]

    def logits(self, views: Sequence[np.ndarray], step: int | str = "last") -> np.ndarray:
        """Logits [B, classes] of uint8 images [H, W, C] that `evaluation_view` has cut."""
        with pinned_jax():
            variables = self.variables(step)
            found = [self._logits(variables, *batch) for batch in self.batches(views, 256)]
        return np.concatenate(found)

    def batches(self, views: Sequence[np.ndarray], size: int) -> Iterator[tuple[Any, np.ndarray]]:
        """The preprocessing and the images, uint8 [n, H, W, C], of `size` views at a time.

        Views of several sizes come one by one.
        """
        from cnn_jax.data import preprocess

        if not len(views):
            raise UserError("no images to classify")
        for first in range(0, len(views), size):
            part = views[first : first + size]
            is_one_size = len({view.shape for view in part}) == 1
            for images in [np.stack(part)] if is_one_size else [view[None] for view in part]:
                yield preprocess.for_size(self.preprocessing, images.shape[1:3]), images

    def features(
        self, images: Sequence[np.ndarray], layers: Sequence[str], step: int | str = "last"
    ) -> dict[str, np.ndarray]:
        """Activations [B, H, W, C] or [B, C] by layer, of images as `predict` takes them.

        Args:
          layers: paths as `launch.py summary` prints them, "conv2/block1", with `*` for anything;
            "conv1/relu" is the same after its ReLU, "embedding" the vector before the classifier.
        """
        from cnn_jax.runs import features

        return features.of_views(self, self.views(images, "features"), layers, step)

    def embed(self, images: Sequence[np.ndarray], step: int | str = "last") -> np.ndarray:
        """The vector before the classifier [B, C]; where that is a map, its mean."""
        return self.features(images, ["embedding"], step)["embedding"]

    def gradients(
        self,
        images: Sequence[np.ndarray],
        layers: Sequence[str] = ("image",),
        classes: Sequence[int] | None = None,
        step: int | str = "last",
    ) -> dict[str, np.ndarray]:
        """Gradients of a logit of each image to the activations of layers, by layer.

        Args:
          layers: as in `features`; "image" is the image itself, in pixel values 0-255.
          classes: whose logit, of each image; by default the likeliest.
        """
        from cnn_jax.runs import features

        views, variables = self.views(images, "gradients"), self.variables(step)
        return features.traced(self, views, layers, classes, variables=variables).gradients

    @property
    def matmul_precision(self) -> str:
        """JAX's name for it, as the run was trained."""
        is_recipe = "precision" in self.config  # and not a network without one
        matmul = self.config.precision.matmul if is_recipe else "default"
        if matmul not in MATMUL:
            raise errors.unknown(f"precision.matmul of {self.path}", matmul, MATMUL)
        return matmul

    @functools.cached_property
    def _logits(self) -> Any:
        import jax

        matmul = self.matmul_precision

        def logits(variables, preprocessing, images):
            with jax.default_matmul_precision(matmul):
                return self.model.apply(variables, preprocessing(images), train=False)

        return jax.jit(logits)


@contextlib.contextmanager
def made_again() -> Iterator[None]:
    """Says how a damaged file of a run is mended."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}; the command that trained the run makes it again") from None
