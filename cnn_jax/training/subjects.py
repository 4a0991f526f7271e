"""What is evaluated: the network and the data of a run, or of a config with other weights."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data, errors, models
from cnn_jax.data import augment, colour, preprocess, protocols, sources, streaming, views
from cnn_jax.data.batches import batch_indices
from cnn_jax.data.examples import ArrayExamples
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.data.protocols import Protocol
from cnn_jax.runs import Run
from cnn_jax.training import inputs, parallel, precision, steps
from cnn_jax.training.predictions import Examples

OTHERS = ("data", "view", "evaluation", "precision")  # groups that a run may be evaluated with


class Subject(NamedTuple):
    """The network, and how it sees the data; JPEGs are decoded at full size in every protocol."""

    config: ConfigDict
    dataset: data.Dataset | data.StreamedDataset
    model: nn.Module
    preprocessing: Preprocessing
    size: int  # side of the evaluation view, in pixels
    resize: int | None  # that images are brought to before it is cut out; None: they have this size
    square: bool  # both sides are
    filter: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the logits."""
        return self.dataset.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the evaluation view."""
        images = self.dataset.splits["train"]
        is_stored = isinstance(self.dataset, data.Dataset)
        channels = images.images.shape[-1] if is_stored else images.channels
        return self.size, self.size, channels

    def examples(self, split: str | None) -> tuple[str, Examples]:
        """A split by name; None is "test", or the only one that there is."""
        splits = list(self.dataset.splits)
        chosen = split or ("test" if "test" in splits else splits[0])
        if chosen not in splits:
            raise errors.unknown(f"split of {self.config.data.name}", chosen, splits)
        images = self.dataset.splits[chosen]
        if isinstance(images, sources.FakeSource):  # whose bytes are the pixels
            noise = replace(images, size=self.size)
            pixels = [views.raw(noise.encoded(i), None, size=self.size) for i in range(len(noise))]
            images = data.Split(np.stack(pixels), noise.labels)
        if isinstance(images, data.Split):
            images = ArraySource(chosen, images)
        mode = "L" if self.image_shape[-1] == 1 else "RGB"
        return chosen, Examples(images, mode, self.config.data.on_error)

    def protocol(self, name: str, sizes: dict[str, Any], **options: Any) -> Protocol:
        """A protocol with the sizes of the evaluation view, but for those given."""
        size, resize = sizes.get("crop", self.size), sizes.get("resize", self.resize)
        defaults = protocols.default_sizes(name, size, resize)
        square = self.square and name in ("center", "ten_crop")  # the others say: shorter sides
        options = {"square": square, "filter": self.filter} | options
        return protocols.create(name, **defaults | sizes, **options)

    def precise(self) -> Callable[[Callable], Callable]:
        """The decorator of programs that `config.precision` says."""
        return configs.call(precision.create, "precision", self.config.precision)

    def training_batches(self, count: int) -> Iterator[tuple[jax.Array, jax.Array]]:
        """The first batches of training, as the network sees them, and keys for dropout."""
        recolour = configs.call(colour.create, "colour", self.config.colour)
        change = configs.call(augment.create, "augmentation", self.config.augmentation)

        @jax.jit
        def prepare(stored, key):
            batch = steps.StreamedData(self.preprocessing).batch(
                stored, functools.partial(recolour, key)
            )
            return change(key, batch.images, batch.index)

        for step, stored in enumerate(itertools.islice(self._stored(), count)):
            key = jax.random.fold_in(jax.random.key(self.config.seed), step)
            change_key, dropout_key = jax.random.split(key)
            yield prepare(stored, change_key), dropout_key

    def _stored(self) -> Iterator[streaming.Batch]:
        """Training batches from the first on, without an end."""
        config, dataset = self.config, self.dataset
        size = config.training.batch_size
        if isinstance(dataset, data.StreamedDataset):
            images = dataset.images("train", "view.train", config.view.train.to_dict())
            stream = streaming.TrainingStream(images, config.seed, size, dataset.reading(0, 1))
            yield from stream.from_step(0)
        images, labels = dataset.splits["train"]
        if not 1 <= size <= len(labels):
            raise errors.UserError(f"a batch of {size:,} of {len(labels):,} training images")
        for step in itertools.count():
            index = batch_indices(config.seed, step, 1, size, len(labels))[0]
            ones = index >= 0
            yield streaming.Batch(images[index], labels[index], index, ones * 1.0, ~ones)


class ArraySource(ArrayExamples):
    """A split in memory as a source of encoded images."""

    def __init__(self, name: str, split: data.Split):
        super().__init__(split.images, split.labels, name)
        self.where = self.identity


def of_run(run: Run, overrides: list[str]) -> Subject:
    """The network and data of a run; `overrides` say where or what its data is now."""
    config = run.config.copy_and_resolve_references()
    for override in overrides:
        field, text = configs.split_override(override)
        if field.partition(".")[0] not in OTHERS:
            raise errors.UserError(
                f"config.{field} of {run.path} stays as it was trained; to be changed for an "
                f"evaluation are the groups {', '.join(OTHERS)}",
                2,
            )
        configs.override_field(config, field, text)
    dataset = configs.call(data.open, "data", config.data)
    if dataset.class_names != run.class_names:
        raise errors.UserError(
            f"the data has {len(dataset.class_names):,} classes, and not the "
            f"{len(run.class_names):,} of {run.path}; name the right place with --data=PATH"
        )
    return Subject(config, dataset, run.model, run.preprocessing, *view_of(config, dataset))


def of_config(config: ConfigDict) -> Subject:
    """The network and data that a config describes."""
    dataset = configs.call(data.open, "data", config.data)
    model = configs.call(models.create, "model", config.model, num_classes=len(dataset.class_names))
    if isinstance(dataset, data.StreamedDataset):
        fitted = inputs.StreamedInputs(config, dataset, parallel.data_mesh()).preprocessing
    else:
        train = dataset.splits["train"]
        fitted = configs.call(preprocess.fit, "preprocessing", config.preprocessing, train=train)
    return Subject(config, dataset, model, fitted, *view_of(config, dataset))


def view_of(config: ConfigDict, dataset: Any) -> tuple[int, int | None, bool, str]:
    """Size, resize, square and filter of the evaluation view."""
    view = config.view.evaluation
    if view.kind == "centre":
        noise = isinstance(dataset.splits["train"], sources.FakeSource)  # made in the right size
        resize = None if noise else view.resize
        return view.size, resize, view.frame == "squash", view.filters[0]
    if view.kind != "whole":
        raise errors.UserError(
            f"view.evaluation.kind is {view.kind!r}: evaluations see the 'centre' or the 'whole'"
        )
    if isinstance(dataset, data.Dataset):
        return min(dataset.image_shape[:2]), None, False, "bilinear"
    size = config.data.image_size
    if size is None:
        size = dataset.images("train", "view.evaluation", view.to_dict()).shape[0]
        return size, None, False, "bilinear"
    return size, size, False, "bilinear"
