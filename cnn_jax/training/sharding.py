"""One mesh over the devices: the batch is split, parameters are whole or split as well."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnn_jax.errors import UserError

PARAMS = ("replicated", "sharded")


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
