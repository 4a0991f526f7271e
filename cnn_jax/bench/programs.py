"""The compiled programs of a config in JAX, to be timed."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax.accelerators import hlo
from cnn_jax.bench.measure import Way
from cnn_jax.data import Dataset, augment
from cnn_jax.data.dataset import batch_indices
from cnn_jax.training import compiler, sharding
from cnn_jax.training.build import Setup, build


class Programs(NamedTuple):
    """Programs and what compiling them cost."""

    ways: dict[str, Way]
    compile_seconds: dict[str, float]  # "lowering" and "compiling"
    memory_bytes: dict[str, int]  # of the compiled program: arguments, outputs, temporary, peak
    image_traffic: float  # bytes of an image that kernels read and write; caches are ignored


def training(config: ConfigDict, dataset: Dataset | None, count: int) -> Programs:
    """The step alone, the loop's program of `count` steps, and the loop's data path alone.

    Args:
      dataset: replaces the data of the config.
      count: steps of each start of a way.
    """
    setup = build(config, dataset)
    batch_size, size = setup.plan.batch_size, setup.plan.train_size
    by_batch = sharding.by_batch(sharding.data_mesh())
    indices = jax.device_put(batch_indices(config.seed, 0, count, batch_size, size), by_batch)
    arguments = (setup.seeds.template, setup.inputs.data, indices)
    seconds, memory, traffic = compile_ahead(setup.seeds.train_steps, *arguments)
    images = count * batch_size
    ways = {
        "step": _step(setup, indices[0], count),
        "loop": _loop(setup, count),
        "data": _data_path(setup, config, count),
    }
    ways = {name: Way(*way, images) for name, way in ways.items()}
    return Programs(ways, seconds, memory, traffic / images)


def _step(setup: Setup, index: jax.Array, count: int):
    """`count` calls of the jitted step, on a batch that is on the device already."""
    split = NamedSharding(sharding.data_mesh(), PartitionSpec("data"))
    batch = jax.jit(setup.inputs.data.batch, out_shardings=split)(index)
    step = setup.parts.jit(setup.train_step, sharding.data_mesh(), donate_argnums=0)
    state = setup.initial_state()

    def start():
        nonlocal state
        for _ in range(count):
            state, _ = step(state, batch)

    return start, lambda: jax.block_until_ready(state)


def _loop(setup: Setup, count: int):
    """The loop of training: order of the data, transfer of the indices, one program."""
    state, first = setup.initial_state(), 0

    def start():
        nonlocal state, first
        state, _ = setup.run_steps(state, first, count)
        first += count

    return start, lambda: jax.block_until_ready(state)


def _data_path(setup: Setup, config: ConfigDict, count: int):
    """The loop without the network; it sums the images, so that XLA removes none of the work."""
    by_batch = sharding.by_batch(sharding.data_mesh())
    size = setup.plan.train_size
    checksum = compiler.jit(make_checksum(config))
    total, first = jnp.float32(0), 0

    def start():
        nonlocal total, first
        indices = batch_indices(config.seed, first, count, setup.plan.batch_size, size)
        total = checksum(setup.inputs.data, jax.device_put(indices, by_batch))
        first += count

    return start, lambda: jax.block_until_ready(total)


def make_checksum(config: ConfigDict) -> Callable[[Any, jax.Array], jax.Array]:
    """(data in memory, indices [K, B]) -> the sum of the images and labels of K batches."""
    view = configs.call(augment.crop_and_flip, "augmentation", config.augmentation)
    color_jitter = configs.call(augment.color_jitter, "color", config.color)

    def checksum(data, indices):
        def add(total, index):
            key = jax.random.fold_in(jax.random.key(0), index[0])
            batch = data.batch(index, functools.partial(color_jitter, key))
            images = view(key, batch.images, index)
            return total + images.sum() + batch.labels.sum(), None

        return jax.lax.scan(add, jnp.float32(0), indices)[0]

    return checksum


def inference(
    model: nn.Module, shape: tuple[int, int, int], batch_size: int, count: int
) -> Programs:
    """`count` forward passes of `batch_size` images [H, W, C], one by one."""
    mesh = sharding.data_mesh()
    sharding.check_batch(batch_size, 1, mesh)
    example = jnp.zeros((1, *shape))
    make = compiler.jit(model.init, once=True, out_shardings=sharding.replicated(mesh))
    variables = make(jax.random.key(0), example)
    batch = random_images(batch_size, shape)
    batch = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    forward = compiler.jit(lambda variables, images: model.apply(variables, images, train=False))
    seconds, memory, traffic = compile_ahead(forward, variables, batch)
    logits = None

    def start():
        nonlocal logits
        for _ in range(count):
            logits = forward(variables, batch)

    way = Way(start, lambda: jax.block_until_ready(logits), count * len(batch))
    return Programs({"forward": way}, seconds, memory, traffic / len(batch))


def random_images(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """float32 [count, H, W, C], normally distributed like preprocessed images."""
    return np.random.default_rng(0).standard_normal((count, *shape), np.float32)


def compile_ahead(program: Any, *arguments: Any) -> tuple[dict[str, float], dict[str, int], int]:
    """Compiles a jitted function for later calls.

    Returns the seconds, the bytes of memory, and those that all devices read and write in a call.
    """
    begin = time.perf_counter()
    lowered = program.lower(*arguments)
    middle = time.perf_counter()
    compiled = lowered.compile()
    seconds = {"lowering": middle - begin, "compiling": time.perf_counter() - middle}
    traffic = hlo.costs(compiled.as_text()).bytes * jax.device_count()
    return seconds, memory_of(compiled), traffic


def memory_of(compiled: jax.stages.Compiled) -> dict[str, int]:
    """The bytes that a compiled program takes of each device; {} where it does not tell."""
    memory = compiled.memory_analysis()
    if memory is None:
        return {}
    sizes = {
        "arguments": memory.argument_size_in_bytes,
        "outputs": memory.output_size_in_bytes,
        "temporary": memory.temp_size_in_bytes,
    }
    # Outputs in the memory of donated arguments are counted once.
    return sizes | {"peak": sum(sizes.values()) - memory.alias_size_in_bytes}
