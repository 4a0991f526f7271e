"""The classic convolutional networks in JAX, as their papers describe them.

config = cnn_jax.load_config("experiments/quickstart.py", ["model.width=2"])
run = cnn_jax.train(config, "runs/quickstart")
run.history, run.summary, run.model, run.variables("best"), run.predict(images)
cnn_jax.evaluate(run, split="test")["top1_error"]

Networks and libraries are imported where they are used.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from cnn_jax import interop, models

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from ml_collections import ConfigDict
    from rich.console import Console

    from cnn_jax.runs import Run

__all__ = [
    "evaluate",
    "features",
    "interop",
    "load_config",
    "load_pretrained",
    "load_run",
    "load_runs",
    "models",
    "train",
]


def load_config(file_and_variant: str, overrides: Iterable[str] = ()) -> "ConfigDict":
    """The locked config of an experiment, as `launch.py --config=FILE:VARIANT` takes it.

    Args:
      file_and_variant: such as "experiments/resnet/cifar10.py:20,fast".
      overrides: such as "model.depth=32", one for each `--config.model.depth=32`.

    Raises:
      UserError: no such file, variant or field, or a value of the wrong type.
    """
    from cnn_jax import config

    return config.load_config(file_and_variant, overrides)


@overload
def train(
    config: "ConfigDict",
    workdir: str | Path,
    *,
    seeds: None = None,
    console: "Console | None" = None,
) -> "Run": ...


@overload
def train(
    config: "ConfigDict", workdir: str | Path, *, seeds: int, console: "Console | None" = None
) -> "list[Run]": ...


def train(config, workdir, *, seeds=None, console=None):
    """Trains what the config says in a directory, or goes on with the run that is there.

    In the main thread SIGINT, SIGTERM and SIGHUP are heard meanwhile: the run saves, and stops with
    a `UserError`. Settings of JAX that would change the numbers have no effect meanwhile.

    Args:
      workdir: of the run; a finished one is not run again.
      seeds: trains so many networks as one program, each in `workdir/seed-I`.
      console: where progress is printed; None prints nothing.

    Returns:
      The run; with `seeds` a list of them.

    Raises:
      UserError: something wrong with config, data or directory; a loss that is not finite.
    """
    from rich.console import Console

    from cnn_jax.runs import load_run
    from cnn_jax.runs.environment import pinned_jax
    from cnn_jax.training.train import train

    with pinned_jax():
        train(config, Path(workdir), console or Console(quiet=True), seeds=seeds)
    if seeds is None:
        return load_run(workdir)
    numbers = range(config.seed, config.seed + seeds)
    return [load_run(Path(workdir) / f"seed-{number}") for number in numbers]


def evaluate(
    run: "Run | str | Path | Sequence[Run | str | Path]",
    *,
    split: str | None = None,
    protocol: str = "center",
    step: int | str = "last",
    weights: str | None = None,
    data: str | None = None,
    average: str = "softmax",
    **sizes: Any,
) -> dict[str, Any]:
    """Errors of a run over a whole split, each example counted once.

    Args:
      run: one that was loaded, or its directory, or a file of `launch.py compress`; or a list of
        these, which is evaluated as one: an ensemble.
      split: by default "test", where there is none "validation", or else "train".
      protocol: "center", "ten_crop", "crops_12", "crops_144" or "multi_scale".
      step: of the checkpoint: "last", "best" (lowest validation error) or a number.
      weights: "raw" or "ema"; by default those that the run evaluates.
      data: where the data is now; by default where it was.
      average: of the views and of the runs: "softmax" or "logits".
      sizes: of the protocol, in pixels: `resize`, `crop`, `sides`, `multiple`.

    Returns:
      `split`, `protocol`, `examples`, `loss`, `top1_error` and `top5_error` (0-1), `top1_right`,
      `top5_right`, and `skipped`: a line for each image that could not be read.
    """
    from cnn_jax.evaluation.ensemble import evaluate_runs
    from cnn_jax.runs.environment import pinned_jax

    given = run if isinstance(run, Sequence) and not isinstance(run, str) else [run]
    runs = [load_run(one) if isinstance(one, str | Path) else one for one in given]
    choices = {"split": split, "protocol": protocol, "step": step, "weights": weights}
    with pinned_jax():
        return evaluate_runs(runs, **choices, data=data, average=average, **sizes)


def features(
    run: "Run | str | Path",
    layers: Iterable[str] | str = "embedding",
    *,
    split: str | None = None,
    step: int | str = "last",
    weights: str | None = None,
    data: str | None = None,
    out: str | Path | None = None,
    console: "Console | None" = None,
) -> "Mapping[str, np.ndarray]":
    """Activations of all images of a split, by layer; beside them `index` and `labels`.

    Args:
      layers: names as `launch.py summary` prints them, with `*` for anything; see `Run.features`.
      split, step, weights, data: as for `evaluate`.
      out: a file `.npz`, or a folder for a `.npy` of each layer; None keeps all in memory.
      console: where progress is printed; None prints nothing.
    """
    from rich.console import Console

    from cnn_jax.evaluation import features, target
    from cnn_jax.progress import ProgressBar
    from cnn_jax.runs.environment import pinned_jax

    opened = load_run(run) if isinstance(run, str | Path) else run
    with pinned_jax(), ProgressBar(console or Console(quiet=True)) as bar:
        found = target.of_run(opened, [f"data.path={data}"] if data else [])
        variables = opened.variables(opened.find_step(step), weights)
        how = (layers, split, found.config.evaluation.batch_size)
        show = functools.partial(bar.show, "image")
        batches = features.stream(found, variables, *how, {}, show)
        if out is None:
            return features.in_memory(batches)
        features.write(batches, Path(out))
    return features.opened(Path(out))


def load_pretrained(name: str | Path) -> "Run":
    """A trained network: `.model`, `.variables()`, `.class_names`, `.predict(images)`.

    Args:
      name: a run, a file of `launch.py compress`, a file of weights, "torchvision:resnet50" or
        "hub:OWNER/NAME"; see `cnn_jax.runs.pretrained`.

    Raises:
      UserError: there is none, it cannot be downloaded, or the network of a file is not recognized.
    """
    from cnn_jax.runs import pretrained

    return pretrained.load(str(name))


def load_run(path: str | Path) -> "Run":
    """Opens the run in a directory, or a compressed network; `UserError` where there is none."""
    from cnn_jax import runs

    return runs.load_run(path)


def load_runs(root: str | Path) -> "pd.DataFrame":
    """A DataFrame with a row for each run below a folder: settings and last numbers."""
    from cnn_jax import runs

    return runs.load_runs(root)
