"""One seed of a config, or several of them as one program, on the devices of a mesh."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnn_jax import errors
from cnn_jax.training import compiler, sharding
from cnn_jax.training.state import TrainState

WAYS = ("auto", "map", "vmap")


@dataclass(frozen=True)
class Members:
    """The networks that are trained; a state is that of the one, or of all of them stacked."""

    seeds: tuple[int, ...]
    create_state: Callable[[], TrainState]
    template: TrainState  # of one seed: jax.ShapeDtypeStruct with shardings
    train_steps: Callable  # (state, data, examples) -> (state, metrics)
    join_examples: Callable[[list[Any]], Any]  # of host arrays by seed, each [K, B, ...]
    by_example: NamedSharding  # of what that gives
    split: Callable[[Any], list[Any]]  # a state, or metrics, by seed
    join: Callable[[list[TrainState]], TrainState]


def place(
    *,
    create_state: Callable[[int], TrainState],
    make_train_steps: Callable[[Callable], Callable],
    mesh: Mesh,
    seed: int,
    several: Sequence[int] | None,
    params: str,
    seeds: str,
) -> Members:
    """Decides what lies where.

    Args:
      create_state: from a seed.
      make_train_steps: from the function that brings sharded parameters together.
      several: trains a network for each of these seeds, instead of one for `seed`.
      params: see `parallel.shardings`; of several seeds they are not sharded.
      seeds: how several seeds are trained, see `train_together`.
    """
    if seeds not in WAYS:
        raise errors.unknown("parallel.seeds", seeds, WAYS)
    if several is None:
        return alone(create_state, make_train_steps, mesh, seed, params)
    if params != "replicated":
        raise errors.UserError(f"parallel.params {params!r} is for one seed; take 'replicated'")
    return together(create_state, make_train_steps, mesh, tuple(several), seeds)


def alone(
    create_state: Callable, make_train_steps: Callable, mesh: Mesh, seed: int, params: str
) -> Members:
    """One seed: the batch is split over the devices."""
    whole = sharding.replicated(mesh)
    shapes = jax.eval_shape(create_state, seed)
    shardings = sharding.shardings(shapes, mesh, params)
    train_steps = make_train_steps(lambda p: jax.lax.with_sharding_constraint(p, whole))
    return Members(
        seeds=(seed,),
        create_state=compiler.jit(lambda: create_state(seed), once=True, out_shardings=shardings),
        template=sharding.placed(shapes, shardings),
        train_steps=compiler.jit(train_steps, donate_argnums=0, out_shardings=(shardings, whole)),
        join_examples=lambda examples: examples[0],
        by_example=sharding.by_batch(mesh),
        split=lambda tree: [tree],
        join=lambda states: states[0],
    )


def together(
    create_state: Callable,
    make_train_steps: Callable,
    mesh: Mesh,
    seeds: tuple[int, ...],
    way: str,
) -> Members:
    """Several seeds: each device trains its own where they divide, else all share each batch."""
    spread = mesh.size > 1 and len(seeds) % mesh.size == 0
    by_seed = NamedSharding(mesh, PartitionSpec("data") if spread else PartitionSpec())
    example_axes = ("data",) if spread else (None, None, "data")
    local = train_together(make_train_steps(lambda params: params), way)
    if spread:
        specs = (PartitionSpec("data"), PartitionSpec(), PartitionSpec("data"))
        # Custom gradients do not say how they vary over devices, so that is not checked.
        local = jax.shard_map(
            local, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("data"), check_vma=False
        )
    numbers = np.asarray(seeds, np.uint32)
    shapes = jax.eval_shape(create_state, seeds[0])
    whole = sharding.replicated(mesh)
    return Members(
        seeds=seeds,
        create_state=compiler.jit(
            lambda: jax.vmap(create_state)(numbers), once=True, out_shardings=by_seed
        ),
        template=sharding.placed(shapes, jax.tree.map(lambda _: whole, shapes)),
        train_steps=compiler.jit(local, donate_argnums=0, out_shardings=by_seed),
        join_examples=lambda examples: jax.tree.map(lambda *own: np.stack(own), *examples),
        by_example=NamedSharding(mesh, PartitionSpec(*example_axes)),
        split=lambda tree: [jax.tree.map(lambda a, i=i: a[i], tree) for i in range(len(seeds))],
        join=jax.jit(
            lambda states: jax.tree.map(lambda *a: jnp.stack(a), *states), out_shardings=by_seed
        ),
    )


def train_together(train_steps: Callable, way: str) -> Callable:
    """(stacked states, data, examples [N, K, B, ...]) -> (states, metrics [N, K]).

    `way`: "map" trains one after the other, compiled once and in the memory of one; "vmap" at once,
    as grouped convolutions; "auto" is "map" on a CPU and "vmap" elsewhere.
    """
    if way == "auto":
        way = "map" if jax.default_backend() == "cpu" else "vmap"
    if way == "vmap":
        return jax.vmap(train_steps, in_axes=(0, None, 0))

    def one_after_the_other(states, data, examples):
        return jax.lax.map(lambda own: train_steps(own[0], data, own[1]), (states, examples))

    return one_after_the_other
