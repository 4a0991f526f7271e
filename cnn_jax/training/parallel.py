"""One mesh over all devices: the batch is split, everything else is on each of them."""

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnn_jax.errors import UserError


def data_mesh() -> Mesh:
    """All devices on one axis, "data"."""
    return Mesh(jax.devices(), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def rounded_up(batch_size: int, mesh: Mesh) -> int:
    """The next batch size that divides by the number of devices."""
    return -(-batch_size // mesh.size) * mesh.size


def check_batch(batch_size: int, mesh: Mesh) -> None:
    """Raises `UserError` where a training batch does not divide by the number of devices."""
    if batch_size % mesh.size:
        above = rounded_up(batch_size, mesh)
        fitting = " or ".join(str(n) for n in (above - mesh.size, above) if n)
        raise UserError(
            f"training.batch_size {batch_size} does not divide by {mesh.size} devices: "
            f"take {fitting}"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """On each device the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def by_batch(mesh: Mesh) -> NamedSharding:
    """[steps, batch, ...], split along the batch."""
    return NamedSharding(mesh, PartitionSpec(None, "data"))
