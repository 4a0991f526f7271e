"""Long stages as one `lax.scan` against separate blocks: compile time and speed in training.

Command    python experiments/benchmarks/blocks.py [--depth=110] [--batch=64] [--scan-only]
Measures   seconds to trace and compile the loop's program of a CIFAR ResNet, and images per second,
           the median over the rounds, in alternation
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

sys.path.insert(0, str(Path(__file__).parents[2]))

from cnn_jax import data, models
from cnn_jax.data import preprocess
from cnn_jax.training import compiler, losses, steps
from cnn_jax.training.state import create_state


def compile_program(depth: int, batch_size: int, count: int, unroll: bool):
    """The loop's program of `count` steps, its arguments, and the seconds that it took."""
    model = models.create("cifar_resnet", num_classes=10, depth=depth, unroll=unroll)
    optimizer = optax.sgd(0.1, momentum=0.9)
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)
    step = steps.make_train_step(model, optimizer, loss, lambda key, images, index: images)
    make = compiler.jit(lambda: create_state(model, optimizer, (32, 32, 3), False, 0), once=True)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1000, 32, 32, 3), np.uint8)
    split = data.Split(images, rng.integers(0, 10, 1000, np.int32))
    fitted = preprocess.fit(split, mean="channel", deviation="channel", whitening="none")
    resident = jax.device_put(steps.ResidentData(*split, fitted))
    indices = jnp.asarray(rng.integers(0, 1000, (count, batch_size), np.int32))
    begin = time.perf_counter()
    program = compiler.jit(steps.make_train_steps(step))
    compiled = program.lower(jax.eval_shape(make), resident, indices).compile()
    return compiled, (make(), resident, indices), time.perf_counter() - begin


def main() -> None:
    """Prints both ways, and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=110)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2, help="as one program")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scan-only", action="store_true", help="ResNet-1202 unrolled: 10 minutes")
    arguments = parser.parse_args()
    ways = {"scanned": False} if arguments.scan_only else {"scanned": False, "unrolled": True}
    result = {"network": f"ResNet-{arguments.depth}", "batch": arguments.batch}
    compiled = {}
    for name, unroll in ways.items():
        sizes = (arguments.depth, arguments.batch, arguments.steps)
        *compiled[name], seconds = compile_program(*sizes, unroll)
        result[f"{name}: compile seconds"] = round(seconds, 1)
    rates = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, (program, inputs) in compiled.items():
            begin = time.perf_counter()
            jax.block_until_ready(program(*inputs))
            images = arguments.steps * arguments.batch
            rates[name].append(images / (time.perf_counter() - begin))
    for name, values in rates.items():
        result[f"{name}: images per second"] = round(statistics.median(values), 1)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
