"""One seed of a config, or several of them as one program, on the devices of a mesh."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnn_jax import errors
from cnn_jax.training import compiler, sharding
from cnn_jax.training.steps import TrainState

WAYS = ("auto", "map", "vmap")


class Parallel(NamedTuple):
    """The group `parallel`."""

    params: str  # what each device has of them, see `sharding.shardings`
    seeds: str  # how several seeds are trained, see `one_program`


def parallel(*, params: str, seeds: str) -> Parallel:
    """Raises `UserError` for a word that is unknown."""
    if params not in sharding.PARAMS:
        raise errors.unknown("parallel.params", params, sharding.PARAMS)
    if seeds not in WAYS:
        raise errors.unknown("parallel.seeds", seeds, WAYS)
    return Parallel(params, seeds)


@dataclass(frozen=True)
class Seeds:
    """The networks that are trained; a state is that of the one, or of all of them stacked."""

    numbers: tuple[int, ...]
    create_state: Callable[[], TrainState]
    template: TrainState  # of one seed: jax.ShapeDtypeStruct with shardings
    train_steps: Callable  # (state, data, examples) -> (state, metrics), compiled
    stack_examples: Callable[[list[Any]], Any]  # of host arrays by seed, each [K, B, ...]
    by_example: NamedSharding  # of what that gives
    split: Callable[[Any], list[Any]]  # a state, or metrics, by seed
    join: Callable[[list[TrainState]], TrainState]  # and a state again


def one_seed(
    numbers: tuple[int],
    create_state: Callable[[int], TrainState],
    train_steps: Callable,
    mesh: Mesh,
    parallel: Parallel,
) -> Seeds:
    """One seed: the batch is split over the devices.

    Args:
      create_state: from a seed.
      train_steps: of one seed, not compiled.
    """
    (seed,) = numbers
    whole = sharding.replicated(mesh)
    shapes = jax.eval_shape(create_state, seed)
    shardings = sharding.shardings(shapes, mesh, parallel.params)
    return Seeds(
        numbers=numbers,
        create_state=compiler.jit(
            lambda: create_state(seed), mesh, once=True, out_shardings=shardings
        ),
        template=sharding.placed(shapes, shardings),
        train_steps=compiler.jit(
            train_steps, mesh, donate_argnums=0, out_shardings=(shardings, whole)
        ),
        stack_examples=lambda examples: examples[0],
        by_example=sharding.by_batch(mesh),
        split=lambda tree: [tree],
        join=lambda states: states[0],
    )


def several_seeds(
    numbers: tuple[int, ...],
    create_state: Callable[[int], TrainState],
    train_steps: Callable,
    mesh: Mesh,
    parallel: Parallel,
) -> Seeds:
    """Each device trains its own seeds where they divide, else all share each batch.

    Raises:
      UserError: sharded parameters, which are for one seed.
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
    shapes = jax.eval_shape(create_state, numbers[0])
    whole = sharding.replicated(mesh)
    return Seeds(
        numbers=numbers,
        create_state=compiler.jit(
            lambda: jax.vmap(create_state)(np.asarray(numbers, np.uint32)),
            mesh,
            once=True,
            out_shardings=by_seed,
        ),
        template=sharding.placed(shapes, jax.tree.map(lambda _: whole, shapes)),
        train_steps=compiler.jit(local, mesh, donate_argnums=0, out_shardings=by_seed),
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
