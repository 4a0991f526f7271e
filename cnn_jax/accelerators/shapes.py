"""The program of a config's training loop, lowered from shapes: no data is read, none is placed."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data
from cnn_jax.bench.estimate import known
from cnn_jax.cluster.join import Alone
from cnn_jax.data import Dataset, Split, preprocess
from cnn_jax.data.stream import reader, sources
from cnn_jax.data.stream.streamed import StreamedDataset
from cnn_jax.training import build, sharding
from cnn_jax.training.streams import StreamedData

Tree = Any
# The fields of the group `data` that a `StreamedDataset` has, too.
READING = ("image_size", "on_error", "decoder", "threads", "workers", "prefetch")


class Shapes(Alone):
    """A group of processes that puts nothing on devices: arrays become shapes with shardings."""

    def put_global(self, tree: Tree, shardings: Tree) -> Tree:
        if isinstance(shardings, jax.sharding.Sharding):
            shardings = jax.tree.map(lambda _: shardings, tree)
        return jax.tree.map(shape_of, tree, shardings)

    def put_local(self, tree: Tree, sharding: jax.sharding.Sharding) -> Tree:
        return self.put_global(tree, sharding)


def shape_of(array: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    """The shape of an array on devices."""
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    return jax.ShapeDtypeStruct(array.shape, dtype, sharding=sharding)


def lower_steps(
    config: ConfigDict,
    devices: Sequence[jax.Device],
    dataset: Dataset | StreamedDataset | None = None,
) -> jax.stages.Lowered:
    """The first program of the loop, for devices that may not be here.

    Args:
      dataset: its shapes count; by default that of the config's, which need not be here.

    Raises:
      UserError: anything in the config that cannot be.
    """
    setup, examples = set_up(config, devices, dataset)
    return setup.seeds.train_steps.lower(setup.seeds.template, *examples)


def set_up(
    config: ConfigDict,
    devices: Sequence[jax.Device],
    dataset: Dataset | StreamedDataset | None = None,
) -> tuple[build.Setup, tuple[Any, Any]]:
    """What trains, see `build.build`, and the (data, examples) of its first program, as shapes."""
    dataset = dataset or stand_in(config)
    mesh, group = sharding.data_mesh(devices), Shapes()
    parts = create_parts(config, dataset)
    # The shapes of a preprocessing are the same for one image.
    image = Split(np.zeros((1, *parts.image_shape), np.uint8), np.zeros(1, np.int32))
    names = config.preprocessing.to_dict()
    # What weights expect is of each channel.
    names = {name: "channel" if value == "weights" else value for name, value in names.items()}
    fitted = configs.call(preprocess.fit, "preprocessing", ConfigDict(names), train=image)
    parts = dataclasses.replace(parts, preprocessing=fitted)
    setup = build.create_setup(parts, mesh, None, group)
    first, count = next(setup.plan.dispatches(0))
    if isinstance(dataset, Dataset):
        return setup, setup.inputs.take(first, count, setup.seeds.template)
    shared = StreamedData(setup.parts.preprocessing), sharding.replicated(mesh)
    shape = (count, setup.plan.batch_size)
    batches = reader.Batch(
        images=no_array((*shape, *setup.parts.image_shape), np.uint8),
        labels=no_array(shape, np.int32),
        index=no_array(shape, np.int32),
        weights=no_array(shape, np.float32),
        bad=no_array(shape, np.bool_),
    )
    return setup, (
        group.put_global(*shared),
        group.put_local(batches, setup.seeds.by_example),
    )


def create_parts(config: ConfigDict, dataset: Dataset | StreamedDataset) -> build.Parts:
    """`build.create_parts`, which computes nothing of the data and reads no trained weights."""
    without = config.copy_and_resolve_references().unlock()
    without.preprocessing.update(mean="none", std="none", whitening="none")
    without.init.update(weights=None, layers=["*"])
    return dataclasses.replace(build.create_parts(without, dataset, Shapes()), config=config)


def stand_in(config: ConfigDict) -> Dataset | StreamedDataset:
    """A data set of the right sizes that holds nothing, where they are published; else the data.

    Raises:
      UserError: the data is of no published size, and not here.
    """
    if (found := known(config)) is None:
        return configs.call(data.open, "data", config.data)
    names = tuple(f"class {label}" for label in range(found.classes))
    if config.data.storage == "stream":
        fields = {name: config.data[name] for name in READING}
        splits = {
            name: sources.fake(count, found.classes, found.image_shape[0], random=False)
            for name, count in found.counts.items()
        }
        return StreamedDataset(names, splits, **fields)
    splits = {
        name: Split(no_array((count, *found.image_shape), np.uint8), no_array((count,), np.int32))
        for name, count in found.counts.items()
    }
    return Dataset(names, splits)


def no_array(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that take no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)
