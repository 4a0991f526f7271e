"""Is the loop as fast as the step? K steps as one program against the bare step, one by one.

Command    python experiments/benchmarks/dispatch.py [--depth=20] [--steps=10] [--rounds=5]
Measures   images per second of the jitted training step on a batch that lies ready, called one by
           one, and of the loop's program of K steps, which also fetches its batches from the
           data on the device; in alternation, the median over the rounds, and the ratio
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import cnn_jax
from cnn_jax import config as configs
from cnn_jax import data, models
from cnn_jax.data import augment, preprocess
from cnn_jax.training import compiler, losses, optimizers, schedules, steps
from cnn_jax.training.state import create_state

CIFAR10 = Path(__file__).parents[1] / "resnet" / "cifar10.py"


def build(depth: int, count: int):
    """The bare step and the program of `count` steps for one recipe, on random images."""
    config = cnn_jax.load_config(f"{CIFAR10}:{depth}")
    rng = np.random.default_rng(0)
    size, batch_size = 10_000, config.training.batch_size
    split = data.Split(
        rng.integers(0, 256, (size, 32, 32, 3), np.uint8), rng.integers(0, 10, size, np.int32)
    )
    model = configs.call(models.create, "model", config.model, num_classes=10)
    learning_rate = configs.call(
        schedules.create,
        "learning_rate",
        config.learning_rate,
        duration=config.training.duration,
        steps_per_epoch=390,
    )
    optimizer = configs.call(
        optimizers.create, "optimizer", config.optimizer, learning_rate=learning_rate
    )
    train_step = steps.make_train_step(
        model,
        optimizer,
        loss=configs.call(losses.create, "loss", config.loss),
        augment=configs.call(augment.create, "augmentation", config.augmentation),
    )
    fitted = configs.call(preprocess.fit, "preprocessing", config.preprocessing, train=split)
    resident = jax.device_put(steps.ResidentData(*split, fitted))
    indices = rng.integers(0, size, (count, batch_size), np.int32)
    batch = jax.jit(resident.batch)(indices[0])
    one = compiler.jit(train_step, donate_argnums=0)
    several = compiler.jit(steps.make_train_steps(train_step), donate_argnums=0)

    def one_by_one(state):
        for _ in range(count):
            state, metrics = one(state, batch)
        return state, metrics

    state = compiler.jit(lambda: create_state(model, optimizer, (32, 32, 3), False, 0), once=True)
    return (
        state,
        {
            "one by one": one_by_one,
            f"{count} as one program": lambda state: several(state, resident, indices),
        },
        count * batch_size,
    )


def main() -> None:
    """Prints a line per way, the ratio, and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    create, ways, images = build(arguments.depth, arguments.steps)
    states = {name: way(create())[0] for name, way in ways.items()}  # compiles
    rates = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            states[name], metrics = way(states[name])
            jax.block_until_ready((states[name], metrics))
            rates[name].append(images / (time.perf_counter() - begin))
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    bare, loop = medians.values()
    for name, rate in medians.items():
        print(f"{name:>20}  {rate:10,.1f} images/s")
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    result = {"network": f"ResNet-{arguments.depth}", **medians, "ratio": round(loop / bare, 3)}
    print(json.dumps(result | {"device": device, "jax": jax.__version__}))


if __name__ == "__main__":
    main()
