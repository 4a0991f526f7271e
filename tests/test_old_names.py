"""What was written before fields were renamed opens, and a run of then is continued."""

import json
import shutil

import flax.traverse_util
import numpy as np
import pytest
from rich.console import Console

import cnn_jax
from cnn_jax import old_names
from cnn_jax.analysis import run_records
from cnn_jax.bench.kill_jobs import compare
from cnn_jax.compression import archive
from cnn_jax.runs import sweep_file
from cnn_jax.training.train import train

# The parts of a config as they were written, and as they are now.
OLD = """{
  "colour": {"brightness": 0.4, "clip": false},
  "compression": {"stage": "share", "bits": 5, "initialisation": "linear"},
  "model": {"name": "inception_v3", "factorised_stem": true},
  "precision": {"matmul": "default"},
  "preprocessing": {"mean": "channel", "deviation": "channel", "whitening": "none"},
  "training": {"duration": "64000 steps"},
  "view": {
    "evaluation": {"kind": "centre", "frame": "whole", "size": 224},
    "train": {"kind": "scale_crop", "frame": "centre", "filters": ["bilinear"]}
  }
}"""
NEW = """{
  "color": {"brightness": 0.4, "clip": false, "formulas": "torch"},
  "compiler": {"options": "", "deterministic": false},
  "compression": {"stage": "share", "bits": 5, "initialization": "linear"},
  "init": {"weights": null, "layers": ["*"]},
  "logging": {"wandb": null, "mlflow": null},
  "model": {"name": "inception_v3", "factorized_stem": true},
  "precision": {"matmul": "default"},
  "preprocessing": {"mean": "channel", "std": "channel", "whitening": "none"},
  "training": {"duration": "64000 steps"},
  "view": {
    "evaluation": {"kind": "center", "frame": "full", "size": 224},
    "train": {"kind": "scale_crop", "frame": "center", "filters": ["bilinear"]}
  }
}"""


def older(config):
    """A config of the digits, as it was written then."""
    config = dict(config)
    config["colour"] = config.pop("color")
    del config["compiler"], config["init"], config["logging"]
    later = ("freeze", "freeze_until", "rate_by_layer", "layer_decay")
    config["optimizer"] = {k: v for k, v in config["optimizer"].items() if k not in later}
    config["preprocessing"] = {"mean": "pixel", "deviation": "scalar", "whitening": "none"}
    config["view"] = {"train": {"kind": "whole"}, "evaluation": {"kind": "whole"}}
    return config


@pytest.fixture
def old_run(tiny_run, tmp_path):
    """A run that was stopped after its last checkpoint but one, with the names of then."""
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    shutil.rmtree(run / "checkpoints" / "00000060")
    (run / "status.json").write_text('{"status": "running"}')
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(older(config), indent=2))
    with np.load(run / "preprocessing.npz") as arrays:
        np.savez(run / "preprocessing.npz", mean=arrays["mean"], deviation=arrays["std"])
    return run


def test_every_name_that_changed_is_translated_and_the_new_ones_stay():
    assert old_names.config(json.loads(OLD)) == json.loads(NEW)
    assert old_names.config(json.loads(NEW)) == json.loads(NEW)


def test_an_old_run_opens_and_the_same_command_continues_it(old_run, tiny_run, tiny_config):
    opened, today = (cnn_jax.load_run(path) for path in (old_run, tiny_run))
    assert opened.config.to_dict() == tiny_config.to_dict()
    assert opened.preprocessing.std == today.preprocessing.std
    train(tiny_config, old_run, Console(quiet=True))
    compare(tiny_run, old_run)
    assert json.loads((old_run / "config.json").read_text()) == tiny_config.to_dict()


def test_an_old_compressed_network_opens(tiny_run, tmp_path):
    today = cnn_jax.load_run(tiny_run)
    arrays = flax.traverse_util.flatten_dict(today.variables(), sep="/")
    statistics = {"mean": today.preprocessing.mean, "deviation": today.preprocessing.std}
    arrays |= {f"preprocessing/{name}": np.float32(value) for name, value in statistics.items()}
    about = {"config": older(today.config.to_dict()), "class_names": list("0123456789")}
    archive.write(tmp_path / "a.cnn", arrays, about | {"num_classes": 10, "image_shape": [8, 8, 1]})
    opened = cnn_jax.load_run(tmp_path / "a.cnn")
    assert opened.config.to_dict() == today.config.to_dict()
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(opened.predict(images), today.predict(images))


def test_old_records_and_sweeps_are_read_with_todays_names(tmp_path, tiny_config):
    old = older(tiny_config.to_dict())
    row = {"name": "a", "folder": "a", "published": {}, "config": old, "paper": old}
    (tmp_path / sweep_file.NAME).write_text(json.dumps({"rows": [row]}))
    (read,) = sweep_file.read(tmp_path)["rows"]
    assert read["config"] == read["paper"] == tiny_config.to_dict()
    record = {name: kind() for name, kind in run_records.PARTS.items()} | {"config": old}
    recipe = {"axis": None, "tolerance": 0.5}
    record["recipe"] = {
        name: kind() for name, kind in run_records.RECIPE.items() if name not in recipe
    }
    record["recipe"] |= recipe
    record["recipe"]["departures"] = record["recipe"].pop("deviations")
    (tmp_path / "record.json").write_text(json.dumps(record))
    read = run_records.read(tmp_path / "record.json")
    assert read["config"] == tiny_config.to_dict() and "deviations" in read["recipe"]
