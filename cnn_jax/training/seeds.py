"""Several seeds of a config as one program, on the devices of a mesh."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnn_jax import errors
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.training import compiler, sharding
from cnn_jax.training.sharding import Parallel, Seeds
from cnn_jax.training.steps import TrainState


def several_seeds(
    numbers: tuple[int, ...],
    init_state: Callable[[int], TrainState],
    train_steps: Callable,
    mesh: Mesh,
    parallel: Parallel,
    jit: compiler.Jit,
) -> Seeds:
    """Each device trains its own seeds where they divide, else all share each batch.

    Raises `UserError` for sharded parameters, which are for one seed.
    """
    if parallel.params != "replicated":
        raise errors.UserError(
            f"parallel.params {parallel.params!r} is for one seed; take 'replicated'"
        )
    spread = mesh.size > 1 and len(numbers) % mesh.size == 0
    by_seed = NamedSharding(mesh, PartitionSpec("data") if spread else PartitionSpec())
    example_axes = ("data",) if spread else (None, None, "data")
    local = one_program(train_steps, parallel.seeds, compiler.platform_of(mesh))
    if spread:
        specs = (PartitionSpec("data"), PartitionSpec(), PartitionSpec("data"))
        # Custom gradients do not say how they vary over devices, so that is not checked.
        local = jax.shard_map(
            local, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("data"), check_vma=False
        )
    shapes = eval_shape(init_state, numbers[0])
    whole = sharding.replicated(mesh)
    return Seeds(
        numbers=numbers,
        init=jit(
            lambda: jax.vmap(init_state)(np.asarray(numbers, np.uint32)),
            mesh,
            once=True,
            out_shardings=by_seed,
        ),
        template=sharding.placed(shapes, jax.tree.map(lambda _: whole, shapes)),
        train_steps=jit(local, mesh, donate_argnums=0, out_shardings=by_seed),
        stack_examples=lambda examples: jax.tree.map(lambda *own: np.stack(own), *examples),
        by_example=NamedSharding(mesh, PartitionSpec(*example_axes)),
        split=lambda tree: [jax.tree.map(lambda a, i=i: a[i], tree) for i in range(len(numbers))],
        join=jax.jit(
            lambda states: jax.tree.map(lambda *a: jnp.stack(a), *states), out_shardings=by_seed
        ),
    )


def one_program(train_steps: Callable, way: str, platform: str) -> Callable:
    """(stacked states, data, examples [N, K, B, ...]) -> (states, metrics [N, K]).

    `way`: "map" trains one after the other, compiled once and in the memory of one; "vmap" at once,
    as grouped convolutions; "auto" is "map" on a CPU and "vmap" elsewhere.
    """
    if way == "auto":
        way = "map" if platform == "cpu" else "vmap"
    if way == "vmap":
        return jax.vmap(train_steps, in_axes=(0, None, 0))

    def one_after_the_other(states, data, examples):
        return jax.lax.map(lambda own: train_steps(own[0], data, own[1]), (states, examples))

    return one_after_the_other
