"""Figure 7 of He et al. (2016): standard deviations of layer responses on CIFAR-10.

    python experiments/resnet/responses.py RUN RUN ... --out=FIGURE.png [--data=FOLDER]

The paper compares ResNet-20, 56 and 110 and the plain networks of 20 and 56 layers: train them with
experiments/resnet/cifar10.py. The numbers are printed, and stand in FIGURE.json: by layer, and in
order of magnitude. They are measured on test images; the paper does not say on which.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import cnn_jax
from cnn_jax import config as configs
from cnn_jax import data
from cnn_jax.analysis import responses
from cnn_jax.errors import UserError
from cnn_jax.runs import Run

BATCH = 250


def main(given: list[str]) -> int:
    """Writes the figure and the numbers; returns an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, help="the figure, a .png")
    parser.add_argument("--data", help="where the runs' data is now")
    parser.add_argument("--count", type=int, default=10_000, help="number of test images")
    arguments = parser.parse_args(given)
    try:
        found = {
            str(path): measure(cnn_jax.load_run(path), arguments.data, arguments.count)
            for path in arguments.runs
        }
        responses.draw(found, arguments.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    numbers = {
        run: {"by layer": stds, "by magnitude": sorted(stds.values(), reverse=True)}
        for run, stds in found.items()
    }
    text = json.dumps(numbers, indent=1)
    arguments.out.with_suffix(".json").write_text(text + "\n")
    print(text)
    return 0


def measure(run: Run, place: str | None, count: int) -> dict[str, float]:
    """The standard deviation of each response of a run's last network."""
    config = run.config.copy_and_resolve_references()
    config.data.path = place or config.data.path
    images = configs.call(data.open, "data", config.data).splits["test"].images[:count]
    batches = (run.preprocessing(images[i : i + BATCH]) for i in range(0, len(images), BATCH))
    return responses.std_by_layer(run.model, run.variables(), batches)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
