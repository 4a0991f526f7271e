"""Compares several seeds in one program with one seed after the other.

Command    python experiments/benchmarks/seeds.py [--seeds=8] [--width=1] [--ways=map,vmap]
Measures   a small Wide ResNet (WRN-10-k) on the digits: seconds until the first program has ended,
           and images per second of all seeds, the median of rounds in which the ways alternate;
           `single` starts the program of one seed once for each seed
"""

import argparse
import json
import sys
import time
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).parents[2]))

import cnn_jax
from cnn_jax.bench.measure import Way, alternate, medians
from cnn_jax.training.build import build

QUICKSTART = Path(__file__).parents[1] / "quickstart.py"
STEPS = 10


def make_way(name: str, seeds: int, width: int) -> Way:
    """A way to train every seed for ten steps: "single", "map" or "vmap"."""
    one_program = name != "single"
    config = cnn_jax.load_config(
        str(QUICKSTART),
        [f"model.width={width}", f"parallel.seeds={name if one_program else 'auto'}"],
    )
    setup = build(config, seeds=range(seeds) if one_program else None)
    state = setup.initial_state()

    def start():
        nonlocal state
        for _ in range(1 if one_program else seeds):
            state, _ = setup.run_steps(state, 0, STEPS)

    images = seeds * STEPS * setup.plan.batch_size
    return Way(start, lambda: jax.block_until_ready(state), images)


def main() -> None:
    """Prints times, rates and their ratios to `single` as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--ways", default="map,vmap")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    ways, first = {}, {}
    for name in ("single", *arguments.ways.split(",")):
        begin = time.perf_counter()
        ways[name] = make_way(name, arguments.seeds, arguments.width)
        ways[name].start()
        ways[name].wait()
        first[name] = round(time.perf_counter() - begin, 1)
    rates = medians(alternate(ways, arguments.rounds, least_seconds=0.5))
    result = {
        "network": f"WRN-10-{arguments.width}",
        "seeds": arguments.seeds,
        "first program, seconds": first,
        "images per second": {name: round(rate, 1) for name, rate in rates.items()},
        "x single": {name: round(rate / rates["single"], 2) for name, rate in rates.items()},
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
