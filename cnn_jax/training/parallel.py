"""One mesh over all devices: the batch is split, everything else is on each of them."""

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnn_jax.errors import UserError


def mesh_for(batch_size: int) -> Mesh:
    """All devices on one axis, "data"; `batch_size` must divide by their number."""
    devices = jax.devices()
    if batch_size % len(devices):
        near = [n for n in range(batch_size, 0, -1) if n % len(devices) == 0][:1]
        above = batch_size + len(devices) - batch_size % len(devices)
        fitting = " or ".join(str(n) for n in [*near, above])
        raise UserError(
            f"a batch of {batch_size} does not divide by {len(devices)} devices: take {fitting}"
        )
    return Mesh(devices, ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """On each device the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def by_batch(mesh: Mesh) -> NamedSharding:
    """[steps, batch, ...], split along the batch."""
    return NamedSharding(mesh, PartitionSpec(None, "data"))
