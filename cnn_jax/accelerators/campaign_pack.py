"""Packs what a campaign has measured up to now, see `analysis.pack`."""

from pathlib import Path
from typing import Any

from cnn_jax.accelerators.campaign import RUNS, Campaign
from cnn_jax.accelerators.campaign_tasks import Task
from cnn_jax.analysis import pack, run_records
from cnn_jax.analysis.run_records import Record
from cnn_jax.files import read_json
from cnn_jax.runs import sweep_file

LINES, WIDTH = 40, 400  # of a log that are packed


def write(campaign: Campaign, file: Path) -> int:
    """Writes the pack, with what an earlier one has that was not measured anew; returns its size.

    The size is in bytes.
    """
    found = campaign.listed.tasks
    before = {"benchmarks": {}, "logs": {}, "records": []} | dict(campaign.places.before or {})
    sweeps = sorted((campaign.places.workdir / RUNS).glob(f"*/{sweep_file.NAME}"))
    own = [record for s in sweeps for record in run_records.of_sweep(s.parent)]
    results = {task.name: campaign.result(task) for task in found}
    here = {name: read_json(result) for name, result in results.items() if result.exists()}
    logs = {task.name: campaign.log(task.name) for task in found}
    return pack.write(
        file,
        device=campaign.device,
        environment=run_records.portable(campaign.journal["environment"]),
        tasks=run_records.portable([about(campaign, task) for task in found]),
        benchmarks=before["benchmarks"] | run_records.portable(here),
        logs=before["logs"] | {name: tail(log) for name, log in logs.items() if log.exists()},
        records=[*own, *(r for r in before["records"] if which(r) not in map(which, own))],
    )


def which(record: Record) -> tuple[str, str, int]:
    """What two records of the same run have in common."""
    recipe = record["recipe"]
    return recipe["name"], recipe["row"], record["config"]["seed"]


def about(campaign: Campaign, task: Task) -> dict[str, Any]:
    """A task, how it ended, and what was measured before it began."""
    journal = campaign.journal
    found = {"name": task.name, "status": "waiting", "seconds": 0.0, "message": ""}
    price = {"price": journal["prices"][task.name]} if task.name in journal["prices"] else {}
    return found | journal["tasks"].get(task.name, {}) | price


def tail(log: Path) -> list[str]:
    """The last lines of a log, without the folders of this machine."""
    lines = log.read_text(errors="replace").splitlines()[-LINES:]
    return [run_records.portable(line[:WIDTH]) for line in lines]
