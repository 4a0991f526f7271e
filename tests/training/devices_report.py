"""Trains twenty steps on 1, 4 and 8 devices and prints what came out, as JSON.

A process of its own, since the number of devices cannot change while JAX runs.
"""

import json
import re
import sys
from pathlib import Path

import jax

import cnn_jax
from cnn_jax.files import keep_compiled
from cnn_jax.training import build
from cnn_jax.training.build import Setup
from cnn_jax.training.steps import TrainState

ROOT = Path(__file__).parents[2]
STEPS = 20
CONFIG = [
    "model.width=1",
    "model.dropout=0.3",
    "model.bn_group_size=8",
    "learning_rate.rate=0.02",
    "learning_rate.warmup=0 epochs",
    "ema.decay=0.9",
]
COLLECTIVES = r"= \S+ (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\("


def train(devices: int, *overrides: str) -> tuple[list[float], Setup, TrainState]:
    """Losses of the steps, and what they were taken with."""
    config = cnn_jax.load_config(str(ROOT / "experiments" / "quickstart.py"), [*CONFIG, *overrides])
    built = build.build(config, devices=jax.devices()[:devices])
    state, metrics = built.run_steps(built.initial_state(), 0, STEPS)
    return metrics["loss"].tolist(), built, state


def evaluated(losses: list[float], built: Setup, state: TrainState) -> dict:
    """With the validation loss of the averages."""
    validation = built.evaluate["validation"](state.weights("ema"))["loss"]
    return {"train": losses, "validation": validation}


def share(state) -> float:
    """How much of the parameters, optimizer state and averages lies on the first device."""
    leaves = jax.tree.leaves((state.params, state.opt_state, state.ema))
    return sum(a.addressable_shards[0].data.size for a in leaves) / sum(a.size for a in leaves)


def batch_norm_collectives(group_size: int) -> int:
    """Collective operations in the gradient of batch norms over eight devices, batch 64."""
    from jax.sharding import NamedSharding, PartitionSpec

    from cnn_jax.models.layers import BatchNorm
    from cnn_jax.training import sharding

    norm = BatchNorm(group_size)
    images = jax.ShapeDtypeStruct((64, 4, 4, 8), "float32")
    variables = norm.init(jax.random.key(0), jax.numpy.zeros(images.shape), train=False)
    mesh = sharding.data_mesh()

    def gradient(images):
        def loss(images):
            y, _ = norm.apply(variables, images, train=True, mutable=["batch_stats"])
            return (y**3).sum()

        return jax.grad(loss)(images)

    by_image = NamedSharding(mesh, PartitionSpec("data"))
    compiled = jax.jit(gradient, in_shardings=by_image, out_shardings=by_image)
    return len(re.findall(COLLECTIVES, compiled.lower(images).compile().as_text()))


def main() -> None:
    """Prints the report."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    keep_compiled()
    report = {"devices": {n: evaluated(*train(n)) for n in (1, 4)}}
    sharded = train(8, "parallel.params=sharded")
    report["sharded"] = {**evaluated(*sharded), "share": share(sharded[-1])}
    report["accumulated"] = {n: train(n, "training.accumulate=2")[0] for n in (1, 4)}
    report["collectives"] = {n: batch_norm_collectives(n) for n in (8, 16)}
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
