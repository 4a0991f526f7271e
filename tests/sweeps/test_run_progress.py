"""A run is done when it is trained, evaluated by its rows' protocols, and measured."""

import shutil
from dataclasses import replace

import cnn_jax
import launch
from cnn_jax.sweeps import run_progress
from cnn_jax.sweeps.sweep import SweepRun, evaluation_flag


def test_a_run_is_waiting_until_it_is_evaluated_by_its_rows_protocols(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "seed-0")
    crops = {"name": "ten_crop", "crop": 8, "resize": 9, "average": "softmax"}
    config = cnn_jax.load_run(tiny_run).config
    run = SweepRun(("a",), 0, tmp_path / "seed-0", config, ("train",), (crops,))
    assert run_progress.state(run) == "waiting"
    flags = evaluation_flag(crops).removeprefix("--evaluate=").split()
    assert launch.main(["eval", str(run.path), *flags]) == 0
    assert run_progress.state(run) == "done"
    assert (
        run_progress.state(replace(run, protocols=({**crops, "average": "logits"},))) == "waiting"
    )


def test_a_compression_is_waiting_until_it_is_measured(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "seed-0")
    run = SweepRun(("a",), 0, tmp_path / "seed-0", None, ("compress",), ())
    assert run_progress.state(run) == "waiting"
    (run.path / "measurements.json").write_text('{"file/bytes": 1}')
    assert run_progress.state(run) == "done"
