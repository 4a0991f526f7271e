"""Measures a config: every number that `launch.py bench` shows, as one JSON value."""

from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data, models
from cnn_jax.analysis import summary
from cnn_jax.bench import fake, measure, programs
from cnn_jax.bench.peaks import peak
from cnn_jax.errors import UserError, first_line
from cnn_jax.runs.directory import environment

# Multiply-adds of a training step: forward, and the gradients of inputs and of kernels.
PASSES = {"training": 3, "inference": 1}


class Options(NamedTuple):
    """How to measure."""

    count: int  # steps that are one program, and steps of a round one by one
    rounds: int
    inference: bool  # else training
    is_fake: bool  # random images
    image: str | None  # "HxWxC" of the random images
    classes: int | None
    kinds: tuple[str, ...]  # of `torch_ways.KINDS`
    least_seconds: float  # that a way runs in a round


def run(config: ConfigDict, options: Options) -> dict[str, Any]:
    """The network, images per second of each way, ratios, compile seconds, memory, arithmetic."""
    if options.is_fake:
        shape, classes = fake.shape_of(config, options.image, options.classes)
        dataset = fake.dataset(shape, classes, config.training.batch_size)
    else:
        dataset = configs.call(data.open, "data", config.data)
        if not isinstance(dataset, data.Dataset):
            raise UserError("bench measures data on the device: --fake, or data.storage 'device'")
        shape, classes = dataset.image_shape, len(dataset.class_names)
    model = configs.call(models.create, "model", config.model, num_classes=classes)
    layers = summary.layers_of(model, shape)
    parameters = sum(layer.parameters for layer in layers)
    multiply_adds = sum(layer.multiply_adds for layer in layers)
    try:
        ways, skipped = _torch(config, shape, classes, parameters, options)
        if options.inference:
            ours = programs.inference(model, shape, config.training.batch_size, options.count)
        else:
            ours = programs.training(config, dataset, options.count)
        rates = measure.alternate(ours.ways | ways, options.rounds, options.least_seconds)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(
            f"not enough memory: take a smaller --batch ({first_line(error)})"
        ) from None
    mode = "inference" if options.inference else "training"
    medians = measure.medians(rates)
    return {
        "mode": mode,
        "network": {
            **config.model.to_dict(),
            "parameters": parameters,
            "multiply_adds_per_image": multiply_adds,
        },
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
        # Of what a user would run.
        **arithmetic(
            model.dtype,
            medians["forward" if options.inference else "loop"],
            PASSES[mode] * multiply_adds,
        ),
        "environment": environment(),
    }


def _torch(config, shape, classes, parameters, options):
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
    """Of images per second: loop and data path to the step, ours to each of PyTorch's."""
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
    """What the first device has held at most since the process began, where it tells."""
    stats = jax.devices()[0].memory_stats() or {}
    return {"device_peak": stats["peak_bytes_in_use"]} if "peak_bytes_in_use" in stats else {}


def arithmetic(dtype: str, images_per_second: float, multiply_adds: int) -> dict[str, Any]:
    """Multiply-adds per second, and their share of what the devices can do (two FLOP each)."""
    rate = images_per_second * multiply_adds
    limit = peak(jax.devices()[0].device_kind, dtype)
    share = None if limit is None else 2 * rate / (limit * jax.device_count())
    return {
        "multiply_adds_per_second": rate,
        "peak_flops_per_device": limit,
        "share_of_peak": share,
    }
