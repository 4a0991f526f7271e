"""The size of a run, and its duration here, which is measured on a few steps of its network."""

import json
import math
import re
import time
from collections.abc import Sequence
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
from cnn_jax.training import build
from cnn_jax.training.plan import Plan, create_plan
from cnn_jax.training.steps import TrainState

# A program of several steps is timed only if it takes less; else a program of one step.
PROGRAM_SECONDS = 5.0
FORWARD = 1 / 3  # of a training step's time
# The groups of the config that change the cost of a step.
COSTLY = (
    *("model", "data", "view", "color", "augmentation"),
    *("loss", "optimizer", "ema", "precision", "compiler", "parallel"),
)
# Image shapes and classes of data sets that may not be here.
SHAPES = {
    **fake.SHAPES,
    "mnist": ((28, 28, 1), 10),
    "svhn_cropped": ((32, 32, 3), 10),
    "imagenet2012": ((224, 224, 3), 1000),
}


class Size(NamedTuple):
    """What a run computes."""

    parameters: int
    multiply_adds: int  # of a forward pass of one image
    steps: int
    evaluated: int  # images of all its evaluations
    classes: int
    image: int  # height of the images


class Known(NamedTuple):
    """What is known of a data set that may not be here."""

    image_shape: tuple[int, int, int]
    classes: int
    counts: dict[str, int]  # examples, by split


class Estimates:
    """Estimates of runs; each data set is read and each network measured once."""

    def __init__(self):
        self._datasets: dict[str, tuple[Dataset | StreamedDataset, dict[str, int]]] = {}
        self._speeds: dict[str, tuple[float, float]] = {}

    def size(self, config: ConfigDict) -> Size:
        """Counts without computing; raises `UserError` for a wrong config or missing data."""
        dataset, counts = self._data(config)
        classes = len(dataset.class_names)
        model = configs.call(models.create, "model", config.model, num_classes=classes)
        shape = data.image_shape(dataset, config.view.train.to_dict())
        schedule = configs.call(
            create_plan,
            "training",
            config.training,
            evaluation=config.evaluation,
            train_size=counts["train"],
        )
        return count(summary.layers_of(model, shape), schedule, Known(shape, classes, counts))

    def seconds(self, config: ConfigDict) -> float:
        """The duration of the whole run, with compilation, on the devices of this process."""
        size = self.size(config)
        start, step = self._speed(config)
        image = FORWARD * step / config.training.batch_size
        return start + size.steps * step + size.evaluated * image

    def _data(self, config: ConfigDict) -> tuple[Dataset | StreamedDataset, dict[str, int]]:
        """The data set and the sizes of its splits; random images where the files are missing."""
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
        """Seconds until the end of the first step, and of each step after it."""
        groups = {name: config[name].to_dict() for name in COSTLY}
        sizes = (config.training.batch_size, config.training.accumulate)
        key = json.dumps([groups, sizes])
        if key not in self._speeds:
            begin = time.perf_counter()
            setup = build.build(config, self._data(config)[0])
            state, values = setup.run_steps(setup.initial_state(), 0, 1)
            jax.block_until_ready(values)
            start = time.perf_counter() - begin
            state, step = timed(setup, state, 1)
            _, count = next(setup.plan.dispatches(0))
            if count > 1 and count * step < PROGRAM_SECONDS:
                state, values = setup.run_steps(state, 0, count)
                jax.block_until_ready(values)
                state, step = timed(setup, state, count)
            setup.inputs.close()
            self._speeds[key] = start, step
        return self._speeds[key]


def count(layers: Sequence[summary.Layer], schedule: Plan, images: Known) -> Size:
    """What a run of this network on these images computes."""
    evaluations = math.ceil(schedule.total_steps / schedule.evaluate_every)
    evaluated = evaluations * sum(images.counts.get(split, 0) for split in schedule.splits)
    if "test" not in schedule.splits:
        evaluated += images.counts.get("test", 0)
    return Size(
        parameters=summary.total(layers, "parameters"),
        multiply_adds=summary.total(layers, "multiply_adds"),
        steps=schedule.total_steps,
        evaluated=evaluated,
        classes=images.classes,
        image=images.image_shape[0],
    )


def known(config: ConfigDict) -> Known | None:
    """The published sizes of the config's data set, seen by its training view."""
    words = re.findall(r"[a-z0-9_]+", f"{config.data.name} {config.data.path}")
    name = next(
        (name for word in words for name in COUNTS if word in (name, name.removesuffix("2012"))),
        None,
    )
    if name is None:
        return None
    counts = dict(COUNTS[name])
    extra = counts.pop("extra", 0)
    if "extra" in words:
        counts["train"] += extra
    counts.setdefault("test", counts.get("validation", 0))  # papers test on ImageNet's validation
    if config.data.validation_size:
        counts["train"] -= config.data.validation_size
        counts["validation"] = config.data.validation_size
    shape, classes = SHAPES[name]
    if size := config.view.train.to_dict().get("size"):
        shape = (size, size, 3)
    return Known(shape, classes, counts)


def stand_in(config: ConfigDict, error: UserError) -> tuple[Dataset, dict[str, int]]:
    """Random images, and the published sizes of the data set; raises `error` for an unknown one."""
    if (found := known(config)) is None:
        raise error
    images = fake.dataset(found.image_shape, found.classes, config.training.batch_size)
    return images, found.counts


def timed(setup: build.Setup, state: TrainState, count: int) -> tuple[TrainState, float]:
    """The state after a compiled program of `count` steps, and the seconds of each step."""
    begin = time.perf_counter()
    state, values = setup.run_steps(state, 0, count)
    jax.block_until_ready(values)
    return state, (time.perf_counter() - begin) / count
