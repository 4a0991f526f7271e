"""`launch.py compress --config`: from a recipe to a measured file, and on where it was stopped."""

import json
from pathlib import Path

import jax
import pytest

import cnn_jax
import launch
from cnn_jax.commands import command_line
from cnn_jax.commands.compress import stages as compress_stages

RECIPE = """
from cnn_jax.experiments.deep_compression import lenet

STAGES = lenet.STAGES


def get_config(variant=""):
    config = lenet.get_config(variant)
    config.data.update(name="digits", path=None)
    config.training.update(duration="20 steps", steps_per_dispatch=20)
    if "until" in config.get("compression", {}):
        config.compression.until = "10 steps"
    return config
"""


def parse(*arguments):
    return command_line.parse(list(arguments), "cnn-jax")[1]


def compress(*arguments):
    return launch.main(["compress", *map(str, arguments)])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    file = tmp_path_factory.mktemp("recipe") / "lenet_on_digits.py"
    file.write_text(RECIPE)
    return f"--config={file}:300-100"


@pytest.fixture(scope="module")
def workdir(recipe, tmp_path_factory):
    """A seed, from the training to the file."""
    folder = tmp_path_factory.mktemp("compressed") / "lenet"
    assert compress(recipe, f"--workdir={folder}", "--seeds=1", "--config.seed=3") == 0
    return folder / "seed-3"


def measured(run):
    return json.loads((run / "measurements.json").read_text())


def test_each_stage_starts_from_the_one_before_with_the_same_seed(workdir):
    places = (workdir, workdir / "stages/prune", workdir / "stages/train")
    shared, pruned, trained = map(cnn_jax.load_run, places)
    assert shared.config.compression.start == str(pruned.path)
    assert pruned.config.compression.start == str(trained.path)
    assert {run.config.seed for run in (shared, pruned, trained)} == {3}


def test_what_is_measured_is_what_the_runs_and_the_file_give(workdir):
    numbers, file = measured(workdir), workdir / "compressed.cnn"
    runs = {"before": "stages/train", "after prune": "stages/prune", "after share": "."}
    errors = {
        name: cnn_jax.load_run(workdir / run).summary["test"]["top1_error"]
        for name, run in runs.items()
    }
    errors["after"] = cnn_jax.evaluate(file, split="test")["top1_error"]
    assert {name: numbers[f"{name}/top1_error"] for name in errors} == pytest.approx(errors)
    assert numbers["file/bytes"] == file.stat().st_size
    assert numbers["file/rate"] == 4 * values_of(file) / file.stat().st_size
    assert numbers["ip1/density"] == pytest.approx(8, abs=0.1)


def values_of(file):
    return sum(leaf.size for leaf in jax.tree.leaves(cnn_jax.load_run(file).variables()))


def test_the_same_command_makes_what_is_missing_and_trains_nothing_again(recipe, workdir):
    made = [workdir / name for name in ("measurements.json", "compressed.cnn")]
    before = [file.read_bytes() for file in made]
    metrics = (workdir / "metrics.jsonl").stat().st_mtime_ns
    for file in made:
        file.unlink()
    assert compress(recipe, f"--workdir={workdir.parent}", "--seeds=1", "--config.seed=3") == 0
    assert [file.read_bytes() for file in made] == before
    assert (workdir / "metrics.jsonl").stat().st_mtime_ns == metrics


def test_a_run_to_start_from_takes_the_place_of_the_training(recipe):
    arguments = parse("compress", recipe, "--config.compression.start=RUN")
    stages = compress_stages.stages(arguments)
    assert list(stages) == ["prune", "share"]
    first, second = compress_stages.chain(stages, Path("DIR"), seed=0)
    assert (first.config.compression.start, first.folder) == ("RUN", Path("DIR/stages/prune"))
    assert (second.config.compression.start, second.folder) == ("DIR/stages/prune", Path("DIR"))


def test_a_stage_takes_the_fields_that_it_has_and_the_word_of_the_last_one_ends_the_chain(recipe):
    arguments = parse("compress", f"{recipe},prune", "--config.compression.rounds=1")
    stages = compress_stages.stages(arguments)
    assert list(stages) == ["train", "prune"] and stages["prune"].compression.rounds == 1


def test_mistakes_are_one_line(recipe, workdir, tmp_path, capsys):
    for arguments, message in (
        (("--config=experiments/quickstart.py",), "has no STAGES"),
        ((f"{recipe},train",), "is no compression"),
        ((recipe, "--config.model.depth=3"), "unknown config field 'model.depth'"),
        ((recipe, "--quality=7"), "has shared the values already"),
        ((recipe, "--out=a.cnn"), "leave --out, --split out"),
        ((recipe, workdir), "takes a RUN_OR_WEIGHTS, or --config"),
        ((), "takes a RUN_OR_WEIGHTS, or --config"),
        ((workdir / "seed-0",), "--out=FILE is missing"),
    ):
        assert compress(*arguments, f"--workdir={tmp_path / 'x'}") in (1, 2)
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
