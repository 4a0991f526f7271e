"""How large a run is, and how long it will take here: measured from a few steps of its network."""

import json
import math
import re
import time
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data, models
from cnn_jax.analysis import summary
from cnn_jax.bench import fake
from cnn_jax.data import Dataset
from cnn_jax.data.prepare.archives import COUNTS
from cnn_jax.data.stream.streamed import StreamedDataset
from cnn_jax.errors import UserError
from cnn_jax.training import build, plan

# Steps are timed one by one where a whole program of them would take longer.
PROGRAM_SECONDS = 5.0
FORWARD = 1 / 3  # of the time of a training step
# What a step costs depends on these alone.
COSTLY = (
    *("model", "data", "view", "color", "augmentation"),
    *("loss", "optimizer", "ema", "precision", "parallel"),
)
# Of images that are not here.
SHAPES = {
    **fake.SHAPES,
    "mnist": ((28, 28, 1), 10),
    "svhn_cropped": ((32, 32, 3), 10),
    "imagenet2012": ((224, 224, 3), 1000),
}


class Size(NamedTuple):
    """What a run computes, without any time."""

    parameters: int
    multiply_adds: int  # of a forward pass of one image
    steps: int
    evaluated: int  # images, in all its evaluations


class Estimates:
    """Reads each data set and measures each network once, however many runs have it."""

    def __init__(self):
        self._datasets: dict[str, tuple[Dataset | StreamedDataset, dict[str, int]]] = {}
        self._speeds: dict[str, tuple[float, float]] = {}

    def size(self, config: ConfigDict) -> Size:
        """Raises `UserError` where the config or its data cannot be."""
        dataset, counts = self._data(config)
        model = configs.call(
            models.create, "model", config.model, num_classes=len(dataset.class_names)
        )
        layers = summary.layers_of(model, data.image_shape(dataset, config.view.train.to_dict()))
        when = configs.call(
            plan.create,
            "training",
            config.training,
            evaluation=config.evaluation,
            train_size=counts["train"],
        )
        evaluations = math.ceil(when.total_steps / when.evaluate_every)
        images = evaluations * sum(counts.get(split, 0) for split in when.splits)
        return Size(
            parameters=sum(layer.parameters for layer in layers),
            multiply_adds=sum(layer.multiply_adds for layer in layers),
            steps=when.total_steps,
            evaluated=images if "test" in when.splits else images + counts.get("test", 0),
        )

    def seconds(self, config: ConfigDict) -> float:
        """Of the whole run, with compilation, on the devices that this process has."""
        size = self.size(config)
        start, step = self._speed(config)
        image = FORWARD * step / config.training.batch_size
        return start + size.steps * step + size.evaluated * image

    def _data(self, config: ConfigDict) -> tuple[Dataset | StreamedDataset, dict[str, int]]:
        """The data set and the size of its splits; random images where the files are not here."""
        key = json.dumps([config.data.to_dict(), config.view.to_dict()])
        if key not in self._datasets:
            try:
                dataset = configs.call(data.open, "data", config.data)
                counts = {name: len(split.labels) for name, split in dataset.splits.items()}
            except UserError as error:
                dataset, counts = stand_in(config, error)
            self._datasets[key] = dataset, counts
        return self._datasets[key]

    def _speed(self, config: ConfigDict) -> tuple[float, float]:
        """Seconds until the first step is done, and of each step after it."""
        groups = {name: config[name].to_dict() for name in COSTLY}
        how = (config.training.batch_size, config.training.accumulate)
        key = json.dumps([groups, how])
        if key not in self._speeds:
            begin = time.perf_counter()
            built = build.build(config, self._data(config)[0])
            state, values = built.run_steps(built.create_state(), 0, 1)
            jax.block_until_ready(values)
            start = time.perf_counter() - begin
            state, step = timed(built, state, 1)
            _, count = next(built.plan.dispatches(0))
            if count > 1 and count * step < PROGRAM_SECONDS:
                state, values = built.run_steps(state, 0, count)
                jax.block_until_ready(values)
                state, step = timed(built, state, count)
            built.inputs.close()
            self._speeds[key] = start, step
        return self._speeds[key]


def stand_in(config: ConfigDict, error: UserError) -> tuple[Dataset, dict[str, int]]:
    """Random images, and the sizes that the data set is known to have; else raises `error`."""
    words = re.findall(r"[a-z0-9_]+", f"{config.data.name} {config.data.path}")
    name = next(
        (name for word in words for name in COUNTS if word in (name, name.removesuffix("2012"))),
        None,
    )
    if name is None:
        raise error
    counts = dict(COUNTS[name])
    extra = counts.pop("extra", 0)
    if "extra" in words:
        counts["train"] += extra
    counts.setdefault("test", counts.get("validation", 0))  # what papers report on ImageNet
    if config.data.validation_size:
        counts["train"] -= config.data.validation_size
        counts["validation"] = config.data.validation_size
    shape, classes = SHAPES[name]
    if size := config.view.train.to_dict().get("size"):
        shape = (size, size, 3)
    return fake.dataset(shape, classes, config.training.batch_size), counts


def timed(built: build.Setup, state, count: int) -> tuple:
    """The state after a program of so many steps, compiled before, and the seconds of each."""
    begin = time.perf_counter()
    state, values = built.run_steps(state, 0, count)
    jax.block_until_ready(values)
    return state, (time.perf_counter() - begin) / count
