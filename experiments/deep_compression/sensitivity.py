"""Shows how far each layer can be pruned before the accuracy falls, as a figure and as numbers.

    python experiments/deep_compression/sensitivity.py RUN --out=FIGURE.png [--data=FOLDER]

FIGURE.json beside the figure has the densities and the accuracies of each layer. They are measured
on training images, so that the test split stays unused.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import cnn_jax
from cnn_jax import config as configs
from cnn_jax import data
from cnn_jax.analysis import sensitivity
from cnn_jax.data.dataset import Split
from cnn_jax.errors import UserError

DENSITIES = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05)


def main() -> int:
    """Writes the figure and the numbers; returns an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the figure, a .png")
    parser.add_argument("--data", help="where the run's data is now")
    parser.add_argument("--count", type=int, default=2000, help="number of training images")
    arguments = parser.parse_args()
    try:
        run = cnn_jax.load_run(arguments.run)
        config = run.config.copy_and_resolve_references()
        config.data.path = arguments.data or config.data.path
        train = configs.call(data.open, "data", config.data).splits["train"]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    chosen = np.random.default_rng(0).choice(
        len(train.labels), min(arguments.count, len(train.labels)), replace=False
    )
    examples = Split(train.images[chosen], train.labels[chosen])
    found = sensitivity.scan(run, examples, DENSITIES)
    sensitivity.draw(found, DENSITIES, arguments.out)
    numbers = {"images": len(chosen), "densities": DENSITIES, "accuracy": found}
    arguments.out.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
