"""What lies on which device: the batch is split, parameters are whole or split as well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnn_jax import errors
from cnn_jax.errors import UserError
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.training import compiler
from cnn_jax.training.steps import TrainState

PARAMS = ("replicated", "sharded")
WAYS = ("auto", "map", "vmap")  # in which several seeds are trained, see `seeds.one_program`


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """`devices`, by default all there are, on one axis, "data"."""
    devices = jax.devices() if devices is None else devices
    return Mesh(devices, ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def rounded_up(batch_size: int, mesh: Mesh) -> int:
    """The next batch size that divides by the number of devices."""
    return -(-batch_size // mesh.size) * mesh.size


def check_batch(batch_size: int, microbatches: int, mesh: Mesh) -> None:
    """Raises `UserError` where a batch does not divide by its microbatches and the devices."""
    unit = microbatches * mesh.size
    if batch_size % unit:
        above = -(-batch_size // unit) * unit
        fitting = " or ".join(str(n) for n in (above - unit, above) if n)
        accumulated = f"{microbatches} microbatches on " if microbatches > 1 else ""
        raise UserError(
            f"training.batch_size {batch_size} does not divide by {accumulated}{mesh.size} "
            f"devices: take {fitting}"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """On each device the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def by_batch(mesh: Mesh) -> NamedSharding:
    """[steps, batch, ...], split along the batch."""
    return NamedSharding(mesh, PartitionSpec(None, "data"))


def gather(mesh: Mesh) -> Callable[[Any], Any]:
    """Brings parameters that are split over the devices together on each of them."""
    whole = replicated(mesh)
    return lambda params: jax.lax.with_sharding_constraint(params, whole)


def shardings(tree: Any, mesh: Mesh, params: str) -> Any:
    """A sharding for each array of a state (or its shape).

    Args:
      params: "replicated": each device has all of it; "sharded": a piece of every array that has
        an axis which divides by the number of devices, the longest such axis, and all of the rest.
    """

    def split(array) -> NamedSharding:
        axes = [i for i, size in enumerate(array.shape) if size % mesh.size == 0]
        if params == "replicated" or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda i: array.shape[i])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, "data"))

    return jax.tree.map(split, tree)


def placed(shapes: Any, shardings: Any) -> Any:
    """Shapes with their shardings: what a checkpoint is restored to."""
    return jax.tree.map(
        lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding),
        shapes,
        shardings,
    )


class Parallel(NamedTuple):
    """The group `parallel`."""

    params: str  # what each device has of them, see `shardings`
    seeds: str  # how several seeds are trained, see `one_program`


def parallel(*, params: str, seeds: str) -> Parallel:
    """Raises `UserError` for a word that is unknown."""
    if params not in PARAMS:
        raise errors.unknown("parallel.params", params, PARAMS)
    if seeds not in WAYS:
        raise errors.unknown("parallel.seeds", seeds, WAYS)
    return Parallel(params, seeds)


@dataclass(frozen=True)
class Seeds:
    """The compiled programs that train a network for each seed.

    With one seed a state is that network's; with several, all arrays have a leading axis [N].
    """

    numbers: tuple[int, ...]
    init: Callable[[], TrainState]  # the initial values, compiled
    template: TrainState  # of one seed: jax.ShapeDtypeStruct with shardings
    train_steps: Callable  # (state, data, examples) -> (state, metrics), compiled
    stack_examples: Callable[[list[Any]], Any]  # of host arrays by seed, each [K, B, ...]
    by_example: NamedSharding  # of what that gives
    split: Callable[[Any], list[Any]]  # a state, or metrics, by seed
    join: Callable[[list[TrainState]], TrainState]  # and a state again


def one_seed(
    numbers: tuple[int],
    init_state: Callable[[int], TrainState],
    train_steps: Callable,
    mesh: Mesh,
    parallel: Parallel,
    jit: compiler.Jit,
) -> Seeds:
    """One seed: the batch is split over the devices.

    Args:
      init_state: the state of a seed, not compiled.
      train_steps: of one seed, not compiled.
    """
    (seed,) = numbers
    whole = replicated(mesh)
    shapes = eval_shape(init_state, seed)
    state_shardings = shardings(shapes, mesh, parallel.params)
    return Seeds(
        numbers=numbers,
        init=jit(lambda: init_state(seed), mesh, once=True, out_shardings=state_shardings),
        template=placed(shapes, state_shardings),
        train_steps=jit(
            train_steps, mesh, donate_argnums=0, out_shardings=(state_shardings, whole)
        ),
        stack_examples=lambda examples: examples[0],
        by_example=by_batch(mesh),
        split=lambda tree: [tree],
        join=lambda states: states[0],
    )
