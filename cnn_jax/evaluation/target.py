"""What is evaluated: a network and its data, from a run or from a config."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from ml_collections import ConfigDict
from PIL import Image

from cnn_jax import config as configs
from cnn_jax import data, errors, models
from cnn_jax.cluster.join import Alone
from cnn_jax.data import augment, evaluation_view
from cnn_jax.data.dataset import batch_indices
from cnn_jax.data.evaluation_view import EvaluationView
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.data.stream import reader, sources, views
from cnn_jax.data.stream.streamed import StreamedDataset
from cnn_jax.evaluation import predict, protocols
from cnn_jax.evaluation.predict import Examples
from cnn_jax.evaluation.protocols import Protocol
from cnn_jax.runs import Run
from cnn_jax.training import build, compiler, inputs
from cnn_jax.training.streams import StreamedData

CHANGEABLE = ("data", "view", "evaluation", "precision", "compiler")  # of an evaluation


class EvalTarget(NamedTuple):
    """A network, its data, and the evaluation view."""

    config: ConfigDict
    dataset: data.Dataset | StreamedDataset
    model: nn.Module
    preprocessing: Preprocessing
    image_shape: tuple[int, int, int]  # height, width and channels of the evaluation view
    view: EvaluationView

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""
        return self.dataset.class_names

    @property
    def size(self) -> int:
        """The shorter side of the evaluation view, in pixels."""
        return min(self.image_shape[:2])

    def examples(self, split: str | None) -> tuple[str, Examples]:
        """Name and examples of a split; None is "test", else "validation", else "train"."""
        splits = self.dataset.splits
        chosen = split or next(name for name in ("test", "validation", "train") if name in splits)
        if chosen not in splits:
            raise errors.unknown(f"split of {self.config.data.name}", chosen, splits)
        images, mode, own = splits[chosen], self.view.mode, self.config.data
        if isinstance(images, data.Split):
            return chosen, predict.of_arrays(chosen, mode, images)
        if isinstance(images, sources.FakeSource):
            return chosen, of_noise(replace(images, size=self.size))
        return chosen, predict.of_source(images, mode, own.on_error, own.image_size)

    def protocol(self, name: str, sizes: dict[str, Any], **options: Any) -> Protocol:
        """A protocol, by default with the sizes of the evaluation view."""
        view = self.view
        size, resize = sizes.get("crop", self.size), sizes.get("resize", view.resize)
        defaults = protocols.default_sizes(name, size, resize)
        square = view.square and name in ("center", "ten_crop")  # the others need shorter sides
        own = {"dct_scaling": True} if view.dct_scaling and name == "center" else {}
        options = {"square": square, "filter": view.filter} | own | options
        return protocols.create(name, **defaults | sizes, **options)

    def jit(self) -> compiler.Jit:
        """Compiles with the groups `compiler` and `precision`."""
        with_precision = configs.call(compiler.precision, "precision", self.config.precision)
        chosen = {"with_precision": with_precision}
        return configs.call(compiler.create, "compiler", self.config.compiler, **chosen)

    def training_batches(self, count: int) -> Iterator[tuple[jax.Array, jax.Array]]:
        """The first `count` training batches, augmented and preprocessed, with keys for dropout."""
        color_jitter = configs.call(augment.color_jitter, "color", self.config.color)
        change = configs.call(augment.crop_and_flip, "augmentation", self.config.augmentation)

        @jax.jit
        def prepare(stored, key):
            batch = StreamedData(self.preprocessing).batch(
                stored, functools.partial(color_jitter, key)
            )
            return change(key, batch.images, batch.index)

        for step, stored in enumerate(itertools.islice(self._stored(), count)):
            key = jax.random.fold_in(jax.random.key(self.config.seed), step)
            change_key, dropout_key = jax.random.split(key)
            yield prepare(stored, change_key), dropout_key

    def _stored(self) -> Iterator[reader.Batch]:
        """All training batches from the first on, as they are stored, without end."""
        config, dataset = self.config, self.dataset
        size = config.training.batch_size
        if not isinstance(dataset, data.Dataset):
            images = dataset.images("train", "view.train", config.view.train.to_dict())
            stream = reader.TrainingStream(images, config.seed, size, dataset.reading(0, 1))
            yield from stream.from_step(0)
        images, labels = dataset.splits["train"]
        if not 1 <= size <= len(labels):
            raise errors.UserError(f"a batch of {size:,} of {len(labels):,} training images")
        for step in itertools.count():
            index = batch_indices(config.seed, step, 1, size, len(labels))[0]
            ones = index >= 0
            yield reader.Batch(images[index], labels[index], index, ones * 1.0, ~ones)


def of_noise(source: sources.FakeSource) -> Examples:
    """The examples of fake data, whose bytes are pixels."""

    def opened(i: int) -> Image.Image:
        return Image.fromarray(views.raw(source.encoded(i), None, size=source.size))

    size = (source.size, source.size)
    return Examples(source.labels, opened, source.where, "RGB", "raise", size)


def of_run(run: Run, overrides: list[str]) -> EvalTarget:
    """The network and data of a run; `overrides` change the `CHANGEABLE` groups of its config.

    Raises `UserError` for other overrides, or data that does not fit the network.
    """
    if "data" not in run.config:
        raise errors.UserError(
            f"{run.path} was made of weights alone and names no data set; evaluate it with "
            "`launch.py eval --weights=FILE --config=FILE`"
        )
    config = run.config.copy_and_resolve_references()
    for override in overrides:
        field, text = configs.split_override(override)
        if field.partition(".")[0] not in CHANGEABLE:
            raise errors.UserError(
                f"config.{field} of {run.path} stays as it was trained; an evaluation may change "
                f"the groups {', '.join(CHANGEABLE)}",
                2,
            )
        configs.override_field(config, field, text)
    try:
        dataset = configs.call(data.open, "data", config.data)
    except errors.UserError as error:
        text = str(error).replace("--config.data.path=", "--data=")
        raise errors.UserError(text, error.exit_code) from None
    if dataset.class_names != run.class_names:
        raise errors.UserError(
            f"the data has {len(dataset.class_names):,} classes that differ from the "
            f"{len(run.class_names):,} of {run.path}; name the right place with --data=PATH"
        )
    target = EvalTarget(config, dataset, run.model, run.preprocessing, *view_of(config, dataset))
    check_shape(target, run)
    return target


def check_shape(target: EvalTarget, run: Run) -> None:
    """Raises `UserError` for other channels, or another size although the view is the same."""
    ours, theirs, before = target.image_shape, run.image_shape, run.config
    is_same_view = (
        target.config.view == before.view
        and target.config.data.image_size == before.data.image_size
        and {view.kind for view in before.view.values()} == {"full"}
    )
    if ours[2] != theirs[2] or (is_same_view and ours != theirs):
        raise errors.UserError(
            f"the data has images of {list(ours)}, and {run.path} was trained on "
            f"{list(theirs)} (height, width, channels); name the right place with --data=PATH"
        )


def of_config(config: ConfigDict) -> EvalTarget:
    """The network and data that a config describes."""
    dataset = configs.call(data.open, "data", config.data)
    view = view_of(config, dataset)
    model = configs.call(models.create, "model", config.model, num_classes=len(dataset.class_names))
    seen = {"dataset": dataset, "view": config.view.evaluation, "group": Alone()}
    seen["weights"] = config.init.weights
    preprocessing = configs.call(build.fit, "preprocessing", config.preprocessing, **seen)
    return EvalTarget(config, dataset, model, preprocessing, *view)


def view_of(
    config: ConfigDict, dataset: data.Dataset | StreamedDataset
) -> tuple[tuple[int, int, int], EvaluationView]:
    """Height, width and channels of the evaluation view, and the view."""
    inputs.check_view(config.view)
    own = config.view.evaluation
    if isinstance(dataset, data.Dataset):
        inputs.check_kinds(dataset, config.view, "evaluation")
        shape = dataset.image_shape
    elif own.kind not in ("center", "full"):
        raise errors.UserError(
            f"view.evaluation.kind is {own.kind!r}; in evaluations it is 'center' or 'full'"
        )
    else:
        shape = dataset.images("train", "view.evaluation", own.to_dict()).shape
    view = evaluation_view.create(config.view, shape)
    if isinstance(dataset.splits["train"], sources.FakeSource):  # of the view's size
        view = view._replace(resize=None)
    return shape, view
