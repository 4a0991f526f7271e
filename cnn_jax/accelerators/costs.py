"""What a training step costs one device, counted from the layers; and what that bounds.

Nothing is compiled here. The model of memory traffic: a convolution or linear layer reads its input
and writes its output, and each of its two gradients does as much; with a bias, the gradients of
that and of the rectifier behind it read the gradient and the output and write one. Batch norm reads
its input twice and writes once, and its gradient takes two passes over the input, the gradient and
the output (which tells where the rectifier was at zero) and writes one. The state is read and
written. Residual sums, concatenations, pooling and augmentation are not counted. In memory lie the
state, a gradient, the data, the images, and what every layer gives. docs/accelerators.md has
compiled programs beside.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import AbstractMesh
from ml_collections import ConfigDict

from cnn_jax import data
from cnn_jax.accelerators import shapes
from cnn_jax.accelerators.targets import Target
from cnn_jax.analysis import summary
from cnn_jax.bench import estimate
from cnn_jax.bench.benchmark import PASSES
from cnn_jax.errors import UserError
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.training import build, sharding, steps

MULTIPLY_ADD = 2  # FLOP
CONVOLUTION_PASSES = 3  # over input and output
BIAS_PASSES, BATCH_NORM_PASSES = 3, 10  # over the output
# What programs get of a device's memory: JAX takes three quarters of a GPU's, a TPU keeps some.
USABLE = {"gpu": 0.75, "tpu": 0.98}
# Kernels that a GPU starts for a layer of a network, as XLA compiles them (10 to 15), and how long
# a start takes, as it is usually measured: they bound small networks.
LAYER_KERNELS, LAUNCH_SECONDS = 10, 2.5e-6


class StepCosts(NamedTuple):
    """Of one step, and one device."""

    flops: float
    bytes: float  # that go to or come from its memory
    all_reduced: float  # bytes that are added up over all devices
    fixed_memory: float  # bytes, whatever the batch
    image_memory: float  # bytes of each image in the device's part of a microbatch
    kernels: float = 0  # that a GPU starts, one after the other; 0: not known
    cycles: float = 0  # of a TPU's core, as its compiler expects them; 0: not known

    def memory(self, images: float) -> float:
        """Bytes, with so many images of a microbatch."""
        return self.fixed_memory + images * self.image_memory


class Job(NamedTuple):
    """A recipe on a target, before anything is compiled."""

    target: Target
    parts: build.Parts
    size: estimate.Size
    unit: int  # a batch is a multiple of it
    costs: StepCosts


def count(config: ConfigDict, target: Target) -> Job:
    """Counts what a recipe costs on a target.

    Raises:
      UserError: a wrong config, data of unknown size, or a batch that does not divide.
    """
    dataset = shapes.stand_in(config)
    parts = shapes.create_parts(config, dataset)
    plan = parts.plan
    sharding.check_batch(
        plan.batch_size, plan.microbatches, AbstractMesh((target.devices,), ("data",))
    )
    unit = batch_unit(parts, target)
    layers = summary.layers_of(parts.model, parts.image_shape)
    counts = {name: data.size(split) for name, split in dataset.splits.items()}
    known = estimate.Known(parts.image_shape, len(dataset.class_names), counts)
    size = estimate.count(layers, plan, known)
    costs = count_step(parts, layers, target, counts)
    return Job(target, parts, size, unit, costs)


def count_step(
    parts: build.Parts, layers: list[summary.Layer], target: Target, counts: dict[str, int]
) -> StepCosts:
    """Of the layers of a network; `counts` are the examples, by split."""
    plan, images = parts.plan, parts.plan.batch_size / target.devices
    item = 2 if parts.model.dtype == "bfloat16" else 4
    state = eval_shape(
        lambda: steps.create_state(
            parts.model, parts.optimizer, parts.image_shape, parts.config.ema.decay > 0, 0
        )
    )
    held, gradient = bytes_of(state), bytes_of(state.params)
    if parts.parallel.params == "sharded":
        held /= target.devices
    pixels = math.prod(parts.image_shape)
    if isinstance(parts.dataset, data.Dataset):
        splits = {"train", "test", *plan.splits}
        resident, sent = sum(counts.get(split, 0) for split in splits) * (pixels + 4), 0
    else:
        _, number = next(plan.on(target.platform, pixels).dispatches(0))
        resident, sent = 0, number * pixels  # bytes of uint8 images
    kept = sum(math.prod(layer.output_shape) for layer in layers)  # for the gradient
    return StepCosts(
        flops=MULTIPLY_ADD * PASSES["training"] * images * summary.total(layers, "multiply_adds"),
        bytes=images * item * sum(map(traffic, layers)) + 2 * (held + plan.microbatches * gradient),
        all_reduced=gradient if target.devices > 1 else 0,
        fixed_memory=held + gradient + resident,
        image_memory=item * kept + plan.microbatches * (4 * pixels + sent),
        kernels=LAYER_KERNELS * len(layers) * plan.microbatches if target.platform == "gpu" else 0,
    )


def traffic(layer: summary.Layer) -> int:
    """The numbers that a layer reads and writes for one image, forward and backward."""
    output = math.prod(layer.output_shape)
    if layer.kind == "BatchNorm":
        return BATCH_NORM_PASSES * output
    has_bias = layer.parameters > math.prod(layer.kernel_shape)
    passes = CONVOLUTION_PASSES * (math.prod(layer.input_shape) + output)
    return passes + BIAS_PASSES * output * has_bias


def bytes_of(tree) -> int:
    """Of all arrays, or shapes."""
    return sum(math.prod(a.shape) * np.dtype(a.dtype).itemsize for a in jax.tree.leaves(tree))


def batch_unit(parts: build.Parts, target: Target) -> int:
    """What a batch must be a multiple of; raises `UserError` where the config's is not."""
    options = parts.config.model.to_dict()
    unit = parts.plan.microbatches * math.lcm(target.devices, options.get("bn_group_size") or 1)
    if parts.plan.batch_size % unit:
        raise UserError(
            f"training.batch_size {parts.plan.batch_size} does not divide into batch-norm groups "
            f"of {options['bn_group_size']} on {target.devices} devices: take a multiple of {unit}"
        )
    return unit


def largest_batch(job: Job, costs: StepCosts) -> int:
    """The largest batch whose memory fits, 0 where none does."""
    free = USABLE[job.target.platform] * job.target.chip.memory - costs.fixed_memory
    images = max(0.0, free) / costs.image_memory * job.target.devices * job.parts.plan.microbatches
    return int(min(images, job.parts.plan.train_size)) // job.unit * job.unit


def told(job: Job, programs: list[dict]) -> StepCosts:
    """The costs that the compiler told of a program, see `compile_process.measure`.

    Of two programs, with different batches, the memory is a line through both; of one, what does
    not grow with the batch is the counted part. What the compiler does not tell is counted.
    """
    first, scale = programs[0], job.target.devices * job.parts.plan.microbatches
    sizes = [(p["batch_size"] / scale, p["memory"]["peak"]) for p in programs]
    (images, peak), (others, other) = sizes[0], (0.0, job.costs.fixed_memory)
    if len(sizes) > 1:
        others, other = sizes[1]
    slope = (peak - other) / (images - others)
    return StepCosts(
        flops=first["flops"] or job.costs.flops,
        bytes=first["bytes"],
        all_reduced=first["all_reduced"],
        fixed_memory=peak - images * slope,
        image_memory=slope,
        kernels=first["kernels"] if job.target.platform == "gpu" else 0,
        cycles=first["cycles"],
    )


def bounds(job: Job, costs: StepCosts) -> dict[str, float]:
    """The seconds that a step takes at least, by what limits it."""
    target = job.target
    chip = target.chip
    return {
        "compute": costs.flops / chip.flops(job.parts.model.dtype),
        "memory": costs.bytes / chip.bandwidth,
        "communication": target.all_reduce_seconds(costs.all_reduced),
        "launches": costs.kernels * LAUNCH_SECONDS,
        "cycles": costs.cycles / chip.clock if chip.clock else 0.0,
    }


def conclude(job: Job, costs: StepCosts) -> dict:
    """What the costs of a step bound, as JSON values: memory, largest batch, speed, duration."""
    plan, devices = job.parts.plan, job.target.devices
    seconds = bounds(job, costs)
    limit = max(seconds, key=seconds.get)
    step = seconds[limit]
    total = step * (job.size.steps + estimate.FORWARD * job.size.evaluated / plan.batch_size)
    memory = costs.memory(plan.batch_size / devices / plan.microbatches)
    return {
        "flops": costs.flops,
        "bytes": costs.bytes,
        "bytes_per_image": costs.bytes * devices / plan.batch_size,
        "all_reduced_bytes": costs.all_reduced,
        "kernels": costs.kernels or None,
        "memory_bytes": memory,
        "fits": memory <= USABLE[job.target.platform] * job.target.chip.memory,
        "largest_batch": largest_batch(job, costs),
        "seconds": seconds,
        "limit": limit,
        "images_per_second": plan.batch_size / step,
        "days": total / 86400,
        "device_hours": total * devices / 3600,
    }
