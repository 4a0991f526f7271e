"""Measures a config: every number of `launch.py bench` as one JSON value."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data, models
from cnn_jax.accelerators.targets import of_kind, peak
from cnn_jax.analysis import summary
from cnn_jax.bench import fake, measure, programs
from cnn_jax.errors import UserError, first_line
from cnn_jax.runs.environment import environment
from cnn_jax.runs.metrics import peak_memory

# Passes of a training step: forward, and those for the gradients of inputs and of kernels.
PASSES = {"training": 3, "inference": 1}
WHOLE = {"training": "loop", "inference": "forward"}  # the way that a user would run


class Options(NamedTuple):
    """How to measure."""

    count: int  # steps of a program
    rounds: int
    inference: bool  # or training
    is_fake: bool  # random images
    image: str | None  # "HxWxC" of the random images
    classes: int | None  # of the random images
    kinds: tuple[str, ...]  # of `torch_ways.KINDS`
    least_seconds: float  # that a way runs in each round


def run(
    config: ConfigDict,
    options: Options,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """The network, images per second of each way, ratios, compile seconds, memory, arithmetic.

    Args:
      on_progress: called with the number of measurements that are done, and of all.

    Raises:
      UserError: data that is not here or is streamed, or too little memory.
    """
    dataset = open_data(config, options)
    shape, classes = dataset.image_shape, len(dataset.class_names)
    model = configs.call(models.create, "model", config.model, num_classes=classes)
    layers = summary.layers_of(model, shape)
    parameters = sum(layer.parameters for layer in layers)
    multiply_adds = sum(layer.multiply_adds for layer in layers)
    sizes = {"parameters": parameters, "multiply_adds_per_image": multiply_adds}
    with explained():
        theirs, skipped = torch_programs(config, shape, classes, parameters, options)
        ours = make_programs(config, dataset, model, options)
        ways, times = ours.ways | theirs, (options.rounds, options.least_seconds)
        rates = measure.alternate(ways, *times, on_progress)
    mode = "inference" if options.inference else "training"
    medians = measure.medians(rates)
    return {
        "mode": mode,
        "network": {**config.model.to_dict(), **sizes},
        "batch_size": config.training.batch_size,
        "image_shape": list(shape),
        "classes": classes,
        "data": "random" if options.is_fake else config.data.name,
        "steps": options.count,
        "images_per_second": medians,
        "rounds": rates,
        "ratios": ratios(medians),
        "skipped": skipped,
        "compile_seconds": ours.compile_seconds,
        "memory_bytes": ours.memory_bytes | device_memory(),
        **arithmetic(model.dtype, medians[WHOLE[mode]], PASSES[mode] * multiply_adds),
        **bandwidth(medians[WHOLE[mode]], ours.image_traffic),
        "environment": environment(),
    }


def open_data(config: ConfigDict, options: Options) -> data.Dataset:
    """The data of the config, or random images of its size."""
    if options.is_fake:
        shape, classes = fake.shape_of(config, options.image, options.classes)
        return fake.dataset(shape, classes, config.training.batch_size)
    dataset = configs.call(data.open, "data", config.data)
    if not isinstance(dataset, data.Dataset):
        raise UserError("bench measures data on the device: --fake, or data.storage 'device'")
    return dataset


def make_programs(
    config: ConfigDict, dataset: data.Dataset, model: nn.Module, options: Options
) -> programs.Programs:
    """Our compiled programs of training or of inference."""
    if options.inference:
        batch_size = config.training.batch_size
        return programs.inference(model, dataset.image_shape, batch_size, options.count)
    return programs.training(config, dataset, options.count)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns the error of too little memory into a `UserError`."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(
            f"not enough memory: choose a smaller --batch ({first_line(error)})"
        ) from None


def torch_programs(
    config: ConfigDict, shape: tuple[int, ...], classes: int, parameters: int, options: Options
) -> tuple[dict[str, measure.Way], dict[str, str]]:
    """PyTorch's ways of `options`, see `torch_ways.ways`; without PyTorch a `UserError`."""
    if not options.kinds:
        return {}, {}
    try:
        from cnn_jax.bench import torch_networks, torch_ways
    except ImportError as error:
        raise UserError(
            "--against=torch needs PyTorch and torchvision: pip install torch torchvision "
            f"({first_line(error)})"
        ) from None
    batch_size = config.training.batch_size
    return torch_ways.ways(
        list(options.kinds),
        lambda: torch_networks.create(config.model.to_dict(), shape[-1], classes, parameters),
        programs.random_images(batch_size, shape),
        np.arange(batch_size) % classes,
        train=not options.inference,
        auxiliary_weight=config.loss.auxiliary_weight,
        count=options.count,
    )


def ratios(medians: dict[str, float]) -> dict[str, float]:
    """Ratios of images per second: loop and data path to the step, ours to each of PyTorch's."""
    found = {
        f"{name} / step": medians[name] / medians["step"]
        for name in ("loop", "data")
        if name in medians
    }
    ours = [name for name in ("step", "loop", "forward") if name in medians]
    for theirs in (name for name in medians if name.startswith("torch")):
        found |= {f"{name} / {theirs}": medians[name] / medians[theirs] for name in ours}
    return found


def device_memory() -> dict[str, int]:
    """The most bytes that the first device has held in this process, where JAX reports them."""
    most = peak_memory(jax.devices()[:1])
    return {} if most is None else {"device_peak": most}


def arithmetic(dtype: str, images_per_second: float, multiply_adds: int) -> dict[str, Any]:
    """Multiply-adds per second, and their fraction of the devices' peak, at two FLOP each."""
    rate = images_per_second * multiply_adds
    limit = peak(jax.devices()[0].device_kind, dtype)
    fraction = None if limit is None else 2 * rate / (limit * jax.device_count())
    return {
        "multiply_adds_per_second": rate,
        "peak_flops_per_device": limit,
        "fraction_of_peak": fraction,
    }


def bandwidth(images_per_second: float, image_traffic: float) -> dict[str, Any]:
    """Bytes per second that kernels read and write, and their fraction of the devices' bandwidth.

    It may be more than all of it: caches spare the memory some of that traffic.
    """
    rate = images_per_second * image_traffic
    chip = of_kind(jax.devices()[0].device_kind)
    return {
        "bytes_per_second": rate,
        "peak_bytes_per_second_per_device": chip and chip.bandwidth,
        "fraction_of_bandwidth": chip and rate / (chip.bandwidth * jax.device_count()),
    }
