"""A run at an MLflow server, or in its folder; `pip install "cnn_jax[mlflow]"`."""

import time
from pathlib import Path
from typing import Any

from cnn_jax import config as configs
from cnn_jax.files import read_undamaged, write_json
from cnn_jax.runs.trackers.tracker import Line, name_of

FILE = "mlflow.json"  # which of MLflow's runs this one is
STATUS = {"done": "FINISHED", "preempted": "KILLED"}  # the others have failed
PARAMS, METRICS = 100, 1000  # MLflow takes so many at once


class MlflowRun:
    """Logs batches of metrics. MLflow would keep a step twice, so what it has is not sent again."""

    def __init__(self, client: Any, run_id: str, is_new: bool):
        self._client, self._id, self._is_new = client, run_id, is_new
        self._last: dict[str, int] = {}  # the last step that MLflow had of each metric

    def add(self, lines: list[Line]) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        metrics = [
            Metric(name, value, now, line.step)
            for line in lines
            for name, value in line.named.items()
            if line.step > self._sent(name)
        ]
        for first in range(0, len(metrics), METRICS):
            self._client.log_batch(self._id, metrics=metrics[first : first + METRICS])

    def close(self, status: str) -> None:
        self._client.set_terminated(self._id, STATUS.get(status, "FAILED"))

    def _sent(self, name: str) -> int:
        if name not in self._last:
            history = [] if self._is_new else self._client.get_metric_history(self._id, name)
            self._last[name] = max((metric.step for metric in history), default=0)
        return self._last[name]


def open_run(directory: Path, config: dict[str, Any], experiment: str) -> MlflowRun:
    """Begins the run, or goes on with it; MLFLOW_TRACKING_URI says where MLflow is."""
    from mlflow import MlflowClient
    from mlflow.entities import Param

    client = MlflowClient()
    if known := read_undamaged(directory / FILE, {}, "id"):
        client.update_run(known["id"], status="RUNNING")
        return MlflowRun(client, known["id"], is_new=False)
    found = client.get_experiment_by_name(experiment)
    group = found.experiment_id if found else client.create_experiment(experiment)
    run = client.create_run(group, run_name=name_of(directory))
    write_json(directory / FILE, {"id": run.info.run_id})
    params = [Param(name, str(value)) for name, value in configs.flatten(config).items()]
    for first in range(0, len(params), PARAMS):
        client.log_batch(run.info.run_id, params=params[first : first + PARAMS])
    return MlflowRun(client, run.info.run_id, is_new=True)
