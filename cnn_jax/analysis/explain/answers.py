"""What a network says of images whose classes are known."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import softmax

from cnn_jax.errors import UserError
from cnn_jax.evaluation import evaluate, target
from cnn_jax.evaluation.predict import Predictions
from cnn_jax.runs.environment import pinned_jax

if TYPE_CHECKING:
    from cnn_jax.runs import Run


class Answers(NamedTuple):
    """The logits of examples, and their images."""

    predictions: Predictions
    class_names: tuple[str, ...]
    view: Callable[[int], np.ndarray]  # of the i-th: uint8 [H, W, C], what the network saw

    @property
    def probabilities(self) -> np.ndarray:
        """The softmax, float64 [N, classes]."""
        return softmax(self.predictions.logits.astype(np.float64), 1)

    @property
    def predicted(self) -> np.ndarray:
        """The likeliest classes [N]."""
        return self.predictions.logits.argmax(1)

    @property
    def losses(self) -> np.ndarray:
        """The cross entropy of each example [N]."""
        return evaluate.cross_entropy(self.predictions.logits, self.predictions.labels)

    def text(self, i: int) -> str:
        """The true class of the i-th example, what it was taken for, and how surely."""
        own = self._replace(predictions=Predictions(*(part[[i]] for part in self.predictions)))
        predicted, label = own.predicted[0], own.predictions.labels[0]
        surely = f"{own.probabilities.max():.0%}"
        if predicted == label:
            return f"{self.class_names[label]} {surely}"
        return f"{self.class_names[label]} as {self.class_names[predicted]} {surely}"


def of_split(
    run: "Run",
    split: str | None = None,
    *,
    step: int | str = "last",
    weights: str | None = None,
    data: str | None = None,
) -> Answers:
    """The answers of a run to a split of its data, as `cnn_jax.evaluate` counts them.

    Args:
      split: by default "test", where there is none "validation", or else "train".
      step, weights, data: as for `cnn_jax.evaluate`.
    """
    with pinned_jax():
        found = target.of_run(run, [f"data.path={data}"] if data else [])
        examples = found.examples(split)[1]
        these = {"these": run.variables(run.find_step(step), weights)}
        how = (found.protocol("center", {}), found.config.evaluation.batch_size)
        predictions = evaluate.evaluate(found, these, examples, *how)[1]["these"]

    def view(i: int) -> np.ndarray:
        return run.evaluation_view.cut(examples.open(int(predictions.index[i])))

    return Answers(predictions, found.class_names, view)


def of_images(run: "Run", images: Sequence[np.ndarray], labels: Sequence[int]) -> Answers:
    """The answers to images as `run.predict` takes them, whose classes are the labels."""
    views, known = run.views(images, "of_images"), np.asarray(labels, np.int32)
    if known.shape != (len(views),):
        raise UserError(f"{len(views)} images and labels of the shape {known.shape}")
    if not len(views) or known.min() < 0 or known.max() >= len(run.class_names):
        raise UserError(f"labels are 0 to {len(run.class_names) - 1}, one for each image")
    predictions = Predictions(np.arange(len(views), dtype=np.int32), known, run.logits(views))
    return Answers(predictions, run.class_names, views.__getitem__)
