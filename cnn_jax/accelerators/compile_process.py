"""A process of its own that compiles a recipe for a target, and prints what the compiler tells.

`ask` starts it with the environment that the compilers need, and for so long as one wants to wait.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # by its path: what is to be imported is the package around it
    sys.path[0] = str(Path(__file__).parents[2])

import jax
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax.accelerators import hlo, shapes, targets, topologies
from cnn_jax.bench.programs import memory_of
from cnn_jax.errors import UserError, first_line


class Order(NamedTuple):
    """What to compile."""

    experiment: str  # FILE[:variant]
    overrides: Sequence[str]
    target: str
    target_config: str | None  # a file
    batches: Sequence[int]  # the program is compiled for each of them, in turn
    seconds: float  # after which none is begun that would not be done by then


class Answer(NamedTuple):
    """What came of it."""

    programs: list[dict[str, Any]]  # see `measure`; in the order of the batches
    reason: str | None  # why there is none
    refused: bool = False  # the compiler refused: the program does not compile, or does not fit


def ask(order: Order, environment: dict[str, str]) -> Answer:
    """Compiles in a process with `environment` besides this one's.

    Raises:
      UserError: what is wrong with the target, or the config.
    """
    late = f"stopped after {order.seconds / 60:.3g} minutes: give more with --minutes"
    try:
        done = subprocess.run(
            [sys.executable, __file__, json.dumps(order)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=order.seconds,
        )
        output, lines = done.stdout, done.stderr.decode(errors="replace").splitlines()
        ended = Answer([], f"the compiler ended: {lines[-1][:200] if lines else ''}", True)
    except subprocess.TimeoutExpired as expired:
        output, ended = expired.stdout or b"", Answer([], late)
    found = [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]
    if programs := [line for line in found if "batch_size" in line]:
        return Answer(programs, None)
    for line in found:
        if "error" in line:
            raise UserError(line["error"])
        return Answer([], *line.values(), "refused" in line)
    return ended


def main(order: Order) -> None:
    """Prints a JSON object in a line for each program; or with "missing", "error" or "refused"."""
    begin = time.monotonic()
    target, file = targets.parse(order.target), order.target_config
    try:
        devices = topologies.devices(target, file and Path(file))
        for batch in order.batches:
            config = configs.load_config(order.experiment, order.overrides)
            config.training.batch_size = batch
            before = time.monotonic()
            print(json.dumps(measure(config, devices)), flush=True)
            now = time.monotonic()
            if now - begin + (now - before) > order.seconds:
                return
    except topologies.NoCompiler as error:
        print(json.dumps({"missing": str(error)}))
    except UserError as error:
        print(json.dumps({"error": str(error)}))
    except jax.errors.JaxRuntimeError as error:
        print(json.dumps({"refused": first_line(error)}))


def measure(config: ConfigDict, devices: Sequence[jax.Device]) -> dict[str, Any]:
    """What the compiler tells of the program of a config's loop, of a step and a device.

    "flops" are None where it does not tell: on GPUs, and where a step has loops, since it counts
    these once.
    """
    begin = time.monotonic()
    setup, examples = shapes.set_up(config, devices)
    lowered = setup.seeds.train_steps.lower(setup.seeds.template, *examples)
    middle = time.monotonic()
    compiled = lowered.compile()
    end = time.monotonic()
    _, count = next(setup.plan.dispatches(0))
    costs = hlo.costs(compiled.as_text())
    told = (compiled.cost_analysis() or {}) if costs.most_runs <= count else {}
    return {
        "batch_size": config.training.batch_size,
        "lowering_seconds": middle - begin,
        "compiling_seconds": end - middle,
        "memory": memory_of(compiled),
        "flops": told.get("flops"),
        "bytes": costs.bytes / count,
        "all_reduced": costs.all_reduced / count,
        "collectives": costs.collectives / count,
        "kernels": costs.kernels / count,
        "cycles": costs.cycles / count,
    }


if __name__ == "__main__":
    main(Order(*json.loads(sys.argv[1])))
