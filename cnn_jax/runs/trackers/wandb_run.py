"""A run at Weights & Biases; `pip install "cnn_jax[wandb]"`."""

import uuid
from pathlib import Path
from typing import Any

from cnn_jax.files import read_undamaged, write_json
from cnn_jax.runs.trackers.tracker import Line, name_of

FILE = "wandb.json"  # which of W&B's runs this one is


class WandbRun:
    """Logs by step. W&B takes no step twice, and what a run repeats after a stop is equal."""

    def __init__(self, run: Any):
        self._run = run

    def add(self, lines: list[Line]) -> None:
        for line in lines:
            self._run.log(line.named, step=line.step)

    def close(self, status: str) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=0 if status == "done" else 1)


def open_run(directory: Path, config: dict[str, Any], project: str) -> WandbRun:
    """Begins the run, or goes on with it.

    Args:
      project: "PROJECT" or "ENTITY/PROJECT".

    W&B's own variables (WANDB_MODE, WANDB_API_KEY, WANDB_BASE_URL) say where it goes; what is
    offline stays in `directory/wandb`.
    """
    import wandb

    entity, _, name = project.rpartition("/")
    known = read_undamaged(directory / FILE, {"id": uuid.uuid4().hex[:16]}, "id")
    run = wandb.init(
        project=name,
        entity=entity or None,
        id=known["id"],
        resume="allow",
        name=name_of(directory),
        config=config,
        dir=str(directory),
        reinit="create_new",  # several seeds are several runs of one process
        settings=wandb.Settings(console="off", silent=True),  # what is printed is the run's
    )
    write_json(directory / FILE, {"id": run.id, "url": None if run.offline else run.url})
    return WandbRun(run)
