"""Compares long stages as one `lax.scan` with separate blocks: compile time and training speed.

Command    python experiments/benchmarks/blocks.py [--depth=110] [--batch=64] [--scan-only]
Measures   seconds to trace and compile the loop's program of a CIFAR ResNet; and images per second,
           the median of rounds in which both alternate
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import cnn_jax
from cnn_jax.bench import fake, measure, programs

CIFAR10 = Path(__file__).parents[1] / "resnet" / "cifar10.py"


def main() -> None:
    """Prints the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", default="110")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2, help="steps in one program")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scan-only", action="store_true", help="ResNet-1202 unrolled: 10 minutes")
    arguments = parser.parse_args()
    dataset = fake.dataset((32, 32, 3), 10, arguments.batch)
    result = {"network": f"ResNet-{arguments.depth}", "batch": arguments.batch}
    ways = {}
    for name in ("scanned",) if arguments.scan_only else ("scanned", "unrolled"):
        unroll = f"model.unroll={name == 'unrolled'}"
        batch_size = f"training.batch_size={arguments.batch}"
        config = cnn_jax.load_config(f"{CIFAR10}:{arguments.depth},fast", [unroll, batch_size])
        made = programs.training(config, dataset, arguments.steps)
        result[f"{name}: compile seconds"] = round(sum(made.compile_seconds.values()), 1)
        ways[name] = made.ways["loop"]
    rates = measure.medians(measure.alternate(ways, arguments.rounds, least_seconds=0.0))
    result |= {f"{name}: images per second": round(rate, 1) for name, rate in rates.items()}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
