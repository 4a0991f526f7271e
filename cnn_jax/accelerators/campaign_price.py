"""What a training of a campaign takes here, from a program of its steps; in which way of seeds.

This touches the device: a campaign calls it in a process of its own.
"""

import time
from collections.abc import Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from cnn_jax.bench.estimate import FORWARD, Estimates, timed
from cnn_jax.errors import UserError, first_line
from cnn_jax.training import build

WAYS = ("vmap", "map")  # of `parallel.seeds`; "auto" is one of them


def measure(
    config: ConfigDict, seeds: int, at_once: int, ways: Sequence[str] | None = None
) -> dict[str, Any]:
    """The fastest way to train several seeds as one program, and the seconds of a training.

    Args:
      config: of the training.
      seeds: that it trains.
      at_once: the seeds with which the ways are timed, the most that its table trains.
      ways: those that are timed, by default `WAYS`.

    Raises:
      UserError: no way fits in the memory of the device.
    """
    found, why = {}, ""
    for way in ways or WAYS:
        try:
            found[way] = seconds_of(config, at_once, way)
        except jax.errors.JaxRuntimeError as error:
            why = first_line(error)
    if not found:
        raise UserError(f"{at_once} seeds as one program: {why}")
    way = min(found, key=lambda way: found[way][1])
    start, step = found[way]
    step *= seeds / at_once
    size = Estimates().size(config)
    evaluations = size.evaluated * FORWARD * step / config.training.batch_size
    total = start + size.steps * step + evaluations
    milliseconds = {way: round(1000 * step, 3) for way, (_, step) in found.items()}
    return {"way": way, "seconds": round(total, 1), "milliseconds": milliseconds}


def seconds_of(config: ConfigDict, seeds: int, way: str) -> tuple[float, float]:
    """Until the end of the first program, and of a step of all seeds in the next one."""
    own = config.copy_and_resolve_references()
    own.parallel.seeds = way
    begin = time.perf_counter()
    setup = build.build(own, seeds=tuple(range(seeds)))
    _, count = next(setup.plan.dispatches(0))
    state, values = setup.run_steps(setup.initial_state(), 0, count)
    jax.block_until_ready(values)
    start = time.perf_counter() - begin
    _, step = timed(setup, state, count)
    return start, step
