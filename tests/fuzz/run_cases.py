"""What a run, a sweep and a campaign leave on disk."""

import gzip
import json
import shutil

import numpy as np

import cnn_jax
from cnn_jax.analysis import comparison, markdown, pack, run_records
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.runs import load_run, metrics
from cnn_jax.runs.checkpoints import Checkpoints
from cnn_jax.runs.directory import RunDirectory
from tests.analysis.making import record
from tests.conftest import ROOT
from tests.fuzz.fuzzing import Case

STEPS = (10, 20)


def config():
    """Of a run that was never trained."""
    return cnn_jax.load_config(str(ROOT / "experiments/quickstart.py"), ["model.width=1"])


def state(seed):
    random = np.random.default_rng(seed)
    kernel = random.standard_normal((3, 3, 4, 5)).astype(np.float32)
    params = {"conv": {"kernel": kernel, "bias": np.ones(5, np.float32)}}
    return {"params": params, "batch_stats": {"mean": random.random(9).astype(np.float32)}}


def run(folder, seed, place="run"):
    """The directory of a run; both checkpoints have the same arrays."""
    path = folder / place
    directory = RunDirectory(path, config())
    names = [f"class {i + seed}" for i in range(10)]
    facts = {"class_names": names, "image_shape": [8, 8, 1], "examples": {"train": 9 + seed}}
    mean, std = np.full((8, 8, 1), seed, np.float32), np.ones(1, np.float32)
    directory.write_start({**facts, "checksum": seed}, Preprocessing(mean, std, None), {})
    lines = []
    for step in STEPS:
        for split in ("train", "validation", "test"):
            line = {"step": step, "split": split, "epoch": step / 10, "loss": 1 / step + seed}
            line |= {"top1_error": 2 / step, "top5_error": 1 / step, "seconds": 0.5 * step}
            lines.append(json.dumps(line) + "\n")
    (path / "metrics.jsonl").write_text("".join(lines))
    (path / "measurements.json").write_text(json.dumps({"size": 123 + seed}))
    (path / "evaluations").mkdir()
    one = record("row", seed, 8.0)["protocols"][0] | {"files": "ten_crop-20"}
    (path / "evaluations" / "results.json").write_text(json.dumps([one]))
    directory.set_status("done")
    directory.close()
    return path


def run_with_checkpoints(folder, seed):
    checkpoints = Checkpoints(run(folder, seed) / "checkpoints")
    for step in STEPS:
        checkpoints.save(step, state(seed), 1.0, 0.5)
    checkpoints.close()


def read_run(folder):
    """All that a run tells without its arrays."""
    found = load_run(folder / "run")
    about = found.class_names, found.image_shape, found.status, metrics.tail(found.path)
    seen = found.model, found.evaluation_view
    return found.record(), about, seen, found.history.to_dict("records")


def read_preprocessing(folder):
    return dict(vars(load_run(folder / "run").preprocessing))


def read_variables(folder):
    return load_run(folder / "run").variables()


def restore(folder):
    """As training goes on; of two checkpoints with equal arrays one is whole."""
    checkpoints = Checkpoints(folder / "run" / "checkpoints")
    try:
        restored, about = checkpoints.restore_latest(state(0))
    finally:
        checkpoints.close()
    return restored, about["seconds"]


def open_again(folder):
    """As training goes on: what is damaged is set aside."""
    directory = RunDirectory(folder / "run", config())
    directory.close()
    return directory.name


def reported(folder):
    """The tables that `launch.py report` makes."""
    found = run_records.find(folder)
    shown = []
    for facts, own in comparison.tables(found):
        lines = comparison.lines(own)
        shown.append([markdown.markdown(facts, lines), [markdown.cells(line) for line in lines]])
    return found, shown


def sweep(folder, seed):
    """A row with one run."""
    place = folder / "row" / "seed-0"
    run(place.parent, seed, place.name)
    shutil.rmtree(place / "checkpoints", ignore_errors=True)
    facts = record("row", seed, 8.0, 8.5)["recipe"]
    about = {name: facts.pop(name) for name in ("runs", "protocols", "published")}
    for name in ("row", "deviations", "paper_duration"):
        facts.pop(name)
    fields = config().to_dict()
    row = {"name": "row", "folder": "row", "config": fields, "paper": fields, **about}
    (folder / "sweep.json").write_text(json.dumps({**facts, "rows": [row], "seeds": 1}))


def one_record(folder, seed):
    (folder / "record.json").write_text(json.dumps(record("row 1", seed, 8.0, 8.5)))


def campaign(folder, seed):
    parts = {"device": "a device", "environment": {}, "tasks": [], "benchmarks": {}, "logs": {}}
    pack.write(folder / pack.NAME, **parts, records=[record("row 1", seed, 8.0, 8.5)])


def read_campaign(folder):
    return pack.read(folder / pack.NAME), reported(folder / pack.NAME)


LAST = f"run/checkpoints/{STEPS[-1]:08d}"
SMALL = ("config.json", "dataset.json", "environment.json", "status.json", "metrics.jsonl")
SMALL += ("measurements.json", "evaluations/results.json")
ZIPPED = (gzip.decompress, lambda damaged, _: gzip.compress(damaged, mtime=0))
CASES = (
    *(Case(f"run {name}", run, read_run, f"run/{name}") for name in SMALL),
    Case("run preprocessing.npz", run, read_preprocessing, "run/*.npz", checksum=True),
    Case("run, to go on", run, open_again, "run/*.*"),
    Case("checkpoint", run_with_checkpoints, read_variables, f"{LAST}/**/*", checksum=True),
    Case(
        "checkpoint, to go on", run_with_checkpoints, restore, "run/checkpoints/**/*", checksum=True
    ),
    Case("sweep.json", sweep, reported, "sweep.json"),
    Case("record of a run", one_record, reported),
    Case("campaign pack", campaign, read_campaign, checksum=True),
    Case("campaign pack, inside", campaign, read_campaign, inside=ZIPPED),
)
