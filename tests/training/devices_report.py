"""Trains twenty steps of a network on 1, 4 and 8 devices and prints what came out, as JSON.

A process of its own, since the number of devices cannot change while JAX runs.
"""

import json
import re
import sys
from pathlib import Path

import flax.linen as nn
import jax
from jax.sharding import NamedSharding, PartitionSpec

import cnn_jax
from cnn_jax import models
from cnn_jax.evaluation.batch_stats import reestimate
from cnn_jax.files import keep_compiled
from cnn_jax.models.layers import BatchNorm, Conv
from cnn_jax.training import build, compiler, sharding
from cnn_jax.training.build import Setup
from cnn_jax.training.steps import TrainState

ROOT = Path(__file__).parents[2]
STEPS = 20
CONFIG = [
    "model.dropout=0.3",
    "model.bn_group_size=8",
    "learning_rate.rate=0.02",
    "learning_rate.warmup=0 epochs",
    "ema.decay=0.9",
]
COLLECTIVES = r"= \S+ (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\("


class Small(nn.Module):
    """What networks have that could depend on the devices, once each: it compiles fast."""

    num_classes: int
    dropout: float = 0.0
    bn_group_size: int | None = None
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images, train=False):
        x = Conv(384, (3, 3), padding=1, dtype=self.dtype, name="conv1")(images)
        x = nn.relu(BatchNorm(self.bn_group_size, dtype=self.dtype, name="bn1")(x, train))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes, name="fc")(x.mean((1, 2)))


def train(network: str, devices: int, *overrides: str) -> tuple[list[float], Setup, TrainState]:
    """Losses of the steps, and what they were taken with."""
    fields = [f"model.name={network}", *CONFIG, *overrides]
    config = cnn_jax.load_config(str(ROOT / "experiments" / "quickstart.py"), fields)
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


def bfloat16_gradient(devices: int) -> list[float]:
    """That of a convolution's kernel, of 64 images over so many devices."""
    mesh, layer = sharding.data_mesh(jax.devices()[:devices]), Conv(4, (3, 3), dtype="bfloat16")
    images = jax.random.normal(jax.random.key(0), (64, 6, 6, 3))
    params = layer.init(jax.random.key(1), images)

    def loss(params, images):
        return (layer.apply(params, images).astype("float32") ** 2).mean()

    by_image = NamedSharding(mesh, PartitionSpec("data"))
    gradient = compiler.jit(jax.grad(loss), mesh, in_shardings=(None, by_image))
    return gradient(params, images)["params"]["kernel"].ravel().tolist()


def reestimated() -> list[float]:
    """Variances of a network in bfloat16, from batches on one of the devices."""
    model = models.create("small", num_classes=4, dtype="bfloat16")
    images, key = jax.random.normal(jax.random.key(0), (16, 8, 8, 3)), jax.random.key(1)
    variables = jax.jit(model.init)(key, images)
    found = reestimate(model, variables, [(images, key)], compiler.jit)
    return found["batch_stats"]["bn1"]["var"].tolist()


def main() -> None:
    """Prints the report."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    keep_compiled()
    models.FAMILIES["small"] = Small
    network = sys.argv[1]
    report = {"devices": {n: evaluated(*train(network, n)) for n in (1, 4)}}
    sharded = train(network, 8, "parallel.params=sharded")
    report["sharded"] = {**evaluated(*sharded), "share": share(sharded[-1])}
    report["accumulated"] = {n: train(network, n, "training.accumulate=2")[0] for n in (1, 4)}
    report["collectives"] = {n: batch_norm_collectives(n) for n in (8, 16)}
    report["bfloat16"] = {n: bfloat16_gradient(n) for n in (1, 8)}
    report["reestimated"] = reestimated()
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
