"""Compares the convolution and batch norm of `layers.py` with Flax's own, on a CPU.

Command    python experiments/benchmarks/plain_flax.py [--depth=110] [--batch=64]
Measures   images per second when a CIFAR ResNet trains, the median of rounds in which both
           alternate: our loop, and the bare step of the same network with separate blocks and
           Flax's own layers, compiled without our options
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import flax.linen as nn

import cnn_jax
from cnn_jax.bench import fake, measure, programs
from cnn_jax.models import layers
from cnn_jax.training import compiler

CIFAR10 = Path(__file__).parents[1] / "resnet" / "cifar10.py"


class FlaxBatchNorm(layers.BatchNorm):
    """Flax's batch norm with the arguments of ours."""

    @nn.compact
    def __call__(self, x, train):
        """Normalizes the whole batch [B, H, W, C]."""
        return nn.BatchNorm(not train, momentum=self.momentum, epsilon=self.epsilon)(x)


def main() -> None:
    """Prints the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", default="110")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2, help="between two readings of the clock")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    dataset = fake.dataset((32, 32, 3), 10, arguments.batch)

    def made(*overrides):
        fields = [f"training.batch_size={arguments.batch}", *overrides]
        config = cnn_jax.load_config(f"{CIFAR10}:{arguments.depth},fast", fields)
        return programs.training(config, dataset, arguments.steps).ways

    ways = {"ours": made()["loop"]}
    layers.Conv, layers.BatchNorm = nn.Conv, FlaxBatchNorm
    compiler.supported = lambda backend, once: {}
    ways["plain Flax"] = made("model.unroll=True")["step"]
    rates = measure.medians(measure.alternate(ways, arguments.rounds, least_seconds=0.0))
    result = {"network": f"ResNet-{arguments.depth}", "batch": arguments.batch}
    result |= {f"{name}: images per second": round(rate, 1) for name, rate in rates.items()}
    print(json.dumps(result | {"ratio": round(rates["ours"] / rates["plain Flax"], 2)}, indent=1))


if __name__ == "__main__":
    main()
