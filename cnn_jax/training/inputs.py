"""Where steps and evaluations get their examples from: the device's memory, or a stream.

Both kinds have `class_names`, `image_shape`, `train_size`, `splits`, `facts`, `preprocessing`, the
`data` that lies on the devices, `connect`, `take`, `waited`, `news`, `evaluate` and `close`.
"""

import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data, errors
from cnn_jax.cluster import processes
from cnn_jax.data import folder, preprocess
from cnn_jax.data.batches import batch_indices
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.data.stream import reader
from cnn_jax.files import cache_folder
from cnn_jax.training import resident, sharding, steps, streams
from cnn_jax.training.plan import Plan
from cnn_jax.training.seeds import Members
from cnn_jax.training.state import TrainState

Evaluate = Callable[[Any], dict[str, float]]


def create_inputs(
    config: ConfigDict, dataset: data.Dataset | data.StreamedDataset | None, mesh: Mesh
) -> "InMemoryInputs | StreamedInputs":
    """What the groups `data`, `view` and `preprocessing` describe.

    Args:
      dataset: takes the place of the group `data`; one in memory also of the views.
    """
    check_view(config.view)
    if dataset is None:
        dataset = configs.call(data.open, "data", config.data)
        if isinstance(dataset, data.Dataset):
            check_full(config.view, "train", "evaluation")
    is_stream = isinstance(dataset, data.StreamedDataset)
    return (StreamedInputs if is_stream else InMemoryInputs)(config, dataset, mesh)


def check_full(view: ConfigDict, *fields: str) -> None:
    """Raises `UserError` for a view that data in memory has not."""
    for field in fields:
        if (kind := view[field].kind) != "full":
            raise errors.UserError(
                f"view.{field}.kind {kind!r} is cut out of a stream: set data.storage to "
                "'stream', or the view to 'full'"
            )


def check_view(view: ConfigDict) -> None:
    """Raises `UserError` where the group has not the two views that there must be."""
    for name in view:
        if name not in ("train", "evaluation"):
            raise errors.unknown("field of config.view", name, ("train", "evaluation"))
    for name in ("train", "evaluation"):
        if name not in view or "kind" not in view[name]:
            raise errors.UserError(f"config.view.{name} lacks its field 'kind'", 2)


class InMemoryInputs:
    """Data of which every split lies on the devices as a whole."""

    waited = None  # what is there is not waited for

    def __init__(self, config: ConfigDict, dataset: data.Dataset, mesh: Mesh):
        self.class_names, self.image_shape = dataset.class_names, dataset.image_shape
        self.splits, self.facts = tuple(dataset.splits), dataset.facts()
        train = dataset.splits["train"]
        self.train_size = len(train.labels)
        self.preprocessing = fit(config, dataset)
        placed = steps.InMemoryData(*train, self.preprocessing)
        self.data = processes.put_global(placed, sharding.replicated(mesh))
        self._dataset, self._mesh = dataset, mesh
        self._batch_size = config.evaluation.batch_size

    def connect(self, plan: Plan, members: Members) -> None:
        """Says who takes the examples, and when."""
        self._plan, self._members = plan, members

    def take(self, first: int, count: int, state: TrainState) -> jax.Array:
        """The indices [K, B] of the examples of a program that `state` goes into."""
        del state
        cut = (first, count, self._plan.batch_size, self.train_size)
        indices = [batch_indices(seed, *cut) for seed in self._members.seeds]
        joined = self._members.join_examples(indices)
        return processes.put_global(joined, self._members.by_example)

    def evaluate(self, split: str, model: nn.Module, precise: Callable) -> Evaluate:
        """`evaluate(variables)`, see `resident.make_evaluate`."""
        images, mesh = self._dataset.splits[split], self._mesh
        others = {"precise": precise, "mesh": mesh}
        return resident.make_evaluate(model, images, self.preprocessing, self._batch_size, **others)

    def warnings(self) -> list[str]:
        """Nothing."""
        return []

    def close(self) -> None:
        """Nothing is open."""


class StreamedInputs:
    """Data that is read ahead of the steps; each process reads its share."""

    def __init__(self, config: ConfigDict, dataset: data.StreamedDataset, mesh: Mesh):
        self.class_names, self.splits = dataset.class_names, tuple(dataset.splits)
        self._reading = dataset.reading(*processes.process_index_and_count())
        view = config.view.to_dict()
        self._train = dataset.images("train", "view.train", view["train"])
        self._see = functools.partial(
            dataset.images, field="view.evaluation", fields=view["evaluation"]
        )
        self.image_shape, self.train_size = self._train.shape, len(self._train.source)
        self.facts = dataset.facts(self.image_shape)
        self.preprocessing = fit(config, dataset)
        placed = steps.StreamedData(self.preprocessing)
        self.data = processes.put_global(placed, sharding.replicated(mesh))
        self._mesh, self._batch_size = mesh, config.evaluation.batch_size
        self._bad = streams.BadImages()
        self._feed: streams.Feed | None = None

    def connect(self, plan: Plan, members: Members) -> None:
        """Says who takes the examples, and when; each seed has an order, so a stream, of its own.

        Raises:
          UserError: several seeds in several processes.
        """
        if len(members.seeds) > 1 and self._reading.processes > 1:
            raise errors.UserError("several seeds of a stream train in one process: drop --seeds")
        each = [
            reader.TrainingStream(self._train, seed, plan.batch_size, self._reading)
            for seed in members.seeds
        ]
        self._feed = streams.Feed(each, plan, members, self._bad)

    def take(self, first: int, count: int, state: TrainState) -> reader.Batch:
        """The batches [K, B, ...] of a program that `state` goes into."""
        return self._feed.take(first, count, state)

    @property
    def waited(self) -> float:
        """Seconds in all that the devices had nothing to do, because there was no data."""
        return self._feed.waited

    def evaluate(self, split: str, model: nn.Module, precise: Callable) -> Evaluate:
        """`evaluate(variables)`, see `streams.make_evaluate`."""
        return streams.make_evaluate(
            model,
            self._see(split),
            self.preprocessing,
            self._batch_size,
            self._reading,
            precise=precise,
            mesh=self._mesh,
            note=functools.partial(self._bad.add, split),
        )

    def warnings(self) -> list[str]:
        """A line for each image that was found to be bad since the last call."""
        return self._bad.warnings()

    def close(self) -> None:
        """Ends the threads and processes that read."""
        if self._feed:
            self._feed.close()


def fit(config: ConfigDict, dataset: data.Dataset | data.StreamedDataset) -> Preprocessing:
    """What the group `preprocessing` says, of the training split."""
    if isinstance(dataset, data.StreamedDataset):
        return fit_stream(config, dataset)
    train = dataset.splits["train"]
    return configs.call(preprocess.fit, "preprocessing", config.preprocessing, train=train)


def fit_stream(config: ConfigDict, dataset: data.StreamedDataset) -> Preprocessing:
    """`fit` of images as evaluations see them; statistics are kept in the cache folder."""
    group, view = config.preprocessing, config.view.evaluation.to_dict()
    images = dataset.images("train", "view.evaluation", view)
    make = functools.partial(
        configs.call, preprocess.fit_stream, "preprocessing", group, channels=images.shape[-1]
    )
    if not preprocess.is_computed(group.mean, group.std):
        return make(batches=())
    key = [images.source.fingerprint(), images.shape, view, images.on_error, group.to_dict()]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    cache = cache_folder("statistics") / f"{digest[:32]}.npz"
    if (kept := folder.read_cache(cache)) is not None:
        return preprocess.from_arrays(kept)
    size = len(images.source)
    if processes.is_first():
        print(f"the mean and std of {size:,} images are computed, once")
    batches = reader.evaluation(images, min(256, size), dataset.reading(process=0, processes=1))
    fitted = make(batches=batches)
    folder.write_cache(cache, preprocess.to_arrays(fitted))
    return fitted
