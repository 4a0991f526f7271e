"""A table becomes runs: their configs, their directories, and what `sweep.json` tells."""

import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

import cnn_jax
from cnn_jax.bench.estimate import Estimates, stand_in
from cnn_jax.config import flatten
from cnn_jax.errors import UserError
from cnn_jax.sweeps import devices, die_with_parent, grid
from cnn_jax.sweeps.sweep import expand, only, write
from cnn_jax.sweeps.tables import Row, Table
from tests.conftest import DENSE, ROOT, TINY, launch_here, wait_until

QUICKSTART = f"{ROOT}/experiments/quickstart.py"
CIFAR = f"{ROOT}/experiments/resnet/cifar10.py"


def table(*rows):
    return Table("Table 1", "test error", "mean", lambda: iter(rows))


def rows_of(*rows, experiment=CIFAR, added="", overrides=()):
    return expand(experiment, table(*rows), ROOT / "unused", 1, added, overrides).facts["rows"]


def test_a_grid_is_every_combination(tmp_path):
    made = grid.table(["model.width=1,2", "learning_rate.rate=0.1,0.2"], "digits", "")
    sweep = expand(QUICKSTART, made, tmp_path, seeds=2)
    values = [(run.config.model.width, run.config.learning_rate.rate) for run in sweep.runs[::2]]
    assert values == [(1, 0.1), (1, 0.2), (2, 0.1), (2, 0.2)]
    assert [run.config.seed for run in sweep.runs] == [0, 1] * 4
    assert sweep.runs[1].path == tmp_path / "width-1-rate-0.1" / "seed-1"


def test_values_with_commas_in_brackets_stay_whole():
    assert grid.axis("model.block=B(3,3),B(3,1,1)") == ("model.block", ["B(3,3)", "B(3,1,1)"])


@pytest.mark.parametrize("bad", ["model.width", "model.width=1,1", "model.width=1,,2"])
def test_a_grid_that_cannot_be_read_is_refused(bad):
    with pytest.raises(UserError, match="field=value"):
        grid.table([bad], "digits", "")


def test_the_paper_trains_in_full_whatever_is_run():
    (row,) = rows_of(Row("20", "20"), added="fast", overrides=["training.duration=1 epoch"])
    assert row["config"]["training"]["duration"] == "1 epoch"
    assert row["config"]["learning_rate"]["schedule"] == "cosine"
    assert row["paper"]["training"]["duration"] == "64000 steps"
    assert row["paper"]["learning_rate"]["schedule"] == "step"


def test_a_row_cannot_shorten_the_paper():
    (row,) = rows_of(Row("20", "20", {"training.duration": "10 steps", "model.depth": 32}))
    assert row["paper"]["training"]["duration"] == "64000 steps"
    assert row["paper"]["model"]["depth"] == 32


def test_values_of_a_row_arrive_as_they_are():
    overrides = {"learning_rate.drops": ["1 epoch"], "model.bn_group_size": 32, "model.depth": 44}
    (row,) = rows_of(Row("a", "20", overrides))
    flat = flatten(row["config"])
    assert {field: flat[field] for field in overrides} == overrides


def test_words_on_the_command_line_are_added_to_each_row():
    (row,) = rows_of(Row("a", "32"), added="fast")
    assert row["config"]["model"]["depth"] == 32
    assert row["config"]["learning_rate"]["schedule"] == "cosine"


def test_rows_that_would_share_a_folder_are_refused():
    with pytest.raises(UserError, match="as 'B\\(3,1\\)' has"):
        rows_of(Row("B(3,1)", "20"), Row("B[3 1]", "32"))


def test_a_misspelt_field_of_a_row_names_the_row():
    with pytest.raises(UserError, match="row 'a': unknown config field 'model.dpth'"):
        rows_of(Row("a", "20", {"model.dpth": 20}))


def test_the_arguments_of_a_run_make_its_config():
    row = Row("a", "20", {"learning_rate.drops": ["1 epoch"], "model.bn_group_size": 32})
    run = expand(CIFAR, table(row), ROOT / "unused", 2, "", ["data.path=x y"]).runs[1]
    _, config, *given, _ = run.arguments
    overrides = [argument.removeprefix("--config.") for argument in given]
    assert cnn_jax.load_config(config.removeprefix("--config="), overrides) == run.config


def test_another_sweep_in_the_directory_is_refused_with_the_difference(tmp_path):
    def sweep(seeds, *overrides):
        return expand(CIFAR, table(Row("a", "20")), tmp_path, seeds, "", overrides)

    write(sweep(3))
    write(sweep(1))
    assert json.loads((tmp_path / "sweep.json").read_text())["seeds"] == 3
    with pytest.raises(UserError, match="a.optimizer.momentum: 0.9 there, 0.8 here"):
        write(sweep(3, "optimizer.momentum=0.8"))


def test_a_row_that_one_sweep_alone_has_is_told_by_its_name(tmp_path):
    write(expand(CIFAR, table(Row("a", "20"), Row("b", "32")), tmp_path, 1))
    with pytest.raises(UserError) as caught:
        write(expand(CIFAR, table(Row("a", "20"), Row("c", "44")), tmp_path, 1))
    differences = "the row 'b', which is only there; the row 'c', which is only here"
    assert str(caught.value).endswith(f"It differs in {differences}")


def test_a_damaged_sweep_is_told_by_its_name_and_written_again(tmp_path):
    (tmp_path / "sweep.json").write_text('{"rows": ')
    with pytest.warns(UserWarning, match=r"sweep\.json is damaged"):
        write(expand(CIFAR, table(Row("a", "20")), tmp_path, 1))
    assert json.loads((tmp_path / "sweep.json").read_text())["rows"][0]["name"] == "a"


def test_rows_with_equal_configs_are_trained_once_and_evaluated_by_the_protocols_of_both(tmp_path):
    crops = {"ten_crop": {"name": "ten_crop", "crop": 28, "resize": 32, "flip": True}}
    first, second = Row("a", "20"), Row("b", "20", protocols=crops)
    # Beside `tmp_path` lie the sweeps of other tests, whose runs would be taken.
    sweep = expand(CIFAR, table(first, second, Row("c", "32")), tmp_path / "sweep", seeds=2)
    assert [(run.rows, run.seed) for run in sweep.runs] == [
        (("a", "b"), 0), (("a", "b"), 1), (("c",), 0), (("c",), 1),
    ]  # fmt: skip
    assert sweep.runs[0].arguments[-1] == (
        "--evaluate=--protocol=ten_crop --resize=32 --crop=28 --flip"
    )
    assert [row["folder"] for row in sweep.facts["rows"]] == ["a", "a", "c"]
    assert only(sweep, ["b"]).runs == sweep.runs[:2]


def test_a_sweep_takes_the_runs_of_equal_configs_of_a_sweep_beside_it(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    write(expand(CIFAR, table(Row("a", "20"), Row("b", "32")), tmp_path / "one", 1))
    other = expand(CIFAR, table(Row("x", "32"), Row("y", "44")), tmp_path / "two", 1)
    write(other)
    places = [run.path.relative_to(tmp_path) for run in other.runs]
    assert list(map(str, places)) == ["one/b/seed-0", "two/y/seed-0"]
    again = expand(CIFAR, table(Row("x", "32"), Row("y", "44")), tmp_path / "two", 1)
    assert [run.path for run in again.runs] == [run.path for run in other.runs]
    different = expand(CIFAR, table(Row("x", "32")), tmp_path / "three", 1, "", ["seed=5"])
    assert different.runs[0].path == tmp_path / "three" / "x" / "seed-5"


def test_some_rows_alone_are_the_same_sweep(tmp_path):
    whole = expand(CIFAR, table(Row("a", "20"), Row("b", "32")), tmp_path, 1)
    part = only(whole, ["b"])
    assert [run.row for run in part.runs] == ["b"] and len(part.facts["rows"]) == 2
    with pytest.raises(UserError, match="unknown row 'c'"):
        only(whole, ["c"])


def test_each_gpu_gets_a_run_and_shared_ones_share_their_memory(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert devices.places(None) == [{"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "5"}]
    assert devices.places(1) == [{}]
    memory = {place["XLA_PYTHON_CLIENT_MEM_FRACTION"] for place in devices.places(3)}
    assert memory == {"0.450"}
    assert [place["CUDA_VISIBLE_DEVICES"] for place in devices.places(3)] == ["2", "5", "2"]
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert devices.places(None) == [{}]


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_command_gets_sigterm_when_its_parent_is_killed(tmp_path):
    done = tmp_path / "done"
    child = f"trap 'touch {done}; exit' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
    code = (
        "import os, subprocess, sys; subprocess.run([sys.executable, "
        f"{die_with_parent.__file__!r}, str(os.getpid()), '/bin/sh', '-c', {child!r}])"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until((tmp_path / "up").exists, parent)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until(done.exists)


def sweep_here(*arguments):
    return launch_here("sweep", *arguments)


def test_a_diverging_run_does_not_stop_the_others(tmp_path):
    tiny = [f"--config.{override}" for override in DENSE]
    rates = "--grid=learning_rate.rate=1e30,0.05"
    ten = "--config.training.duration=10 steps"
    done = sweep_here(rates, *tiny, ten, f"--workdir={tmp_path}/s")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "1 of 2 runs diverged; rate=1e30 seed 0: " in done.stderr
    assert done.stderr.count("\n") == 1
    assert "rate=0.05 seed 0: done" in done.stdout


def test_the_commands_for_other_launchers_are_one_a_line(tmp_path):
    done = sweep_here("--grid=model.width=1,2", "--commands", f"--workdir={tmp_path}/s")
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(line.startswith("python launch.py train ") for line in lines)
    assert f"--workdir={tmp_path}/s/width-2/seed-0" in lines[1]
    assert (tmp_path / "s" / "sweep.json").exists()


def test_a_sweep_tells_no_folder_of_the_machine_wherever_it_was_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ("--grid=model.width=1", f"--config.data.path={tmp_path}", "--commands")
    names = ("experiments/quickstart.py", QUICKSTART, os.path.relpath(QUICKSTART))
    for i, name in enumerate(names):
        assert sweep_here(*given, f"--config={name}", f"--workdir={i}").returncode == 0
    facts = [json.loads((tmp_path / str(i) / "sweep.json").read_text()) for i in range(3)]
    for one in facts:
        assert one["name"] == "quickstart-grid"
        assert one["title"] == "experiments/quickstart.py: model.width"
        assert "--config=experiments/quickstart.py " in one["command"]
        assert "--config.data.path=DATA" in one["command"]
        told = json.dumps({key: value for key, value in one.items() if key != "rows"})
        assert str(tmp_path) not in told and str(ROOT) not in told


def test_a_dry_run_tells_sizes_and_times_and_writes_nothing(tmp_path):
    tiny = [f"--config.{override}" for override in TINY]
    sizes = [*tiny, "--grid=model.depth=10,16", f"--workdir={tmp_path}/s", "--dry_run"]
    done = sweep_here(*sizes, "--no_estimate", "--seeds=2")
    assert done.returncode == 0, done.stderr
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if "depth=" in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [row[:2] for row in cells] == [["depth=10", "2"], ["depth=16", "2"]]
    for row, depth in zip(cells, (10, 16), strict=True):
        model = cnn_jax.models.create("wide_resnet", num_classes=10, depth=depth, width=1)
        params = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 8, 8, 1)))["params"]
        assert row[2] == f"{sum(p.size for p in jax.tree.leaves(params)):,}"
    assert {row[4] for row in cells} == {"60"}
    assert "runs, 1 at a time" not in done.stdout and not list(tmp_path.iterdir())


def test_the_time_of_a_run_is_measured_and_that_of_the_same_network_once(dense_config, monkeypatch):
    estimates = Estimates()
    size, seconds = estimates.size(dense_config), estimates.seconds(dense_config)
    assert size.steps == 60 and 0.1 < seconds < 600
    monkeypatch.setattr("cnn_jax.bench.estimate.build.build", None)
    longer = cnn_jax.load_config(QUICKSTART, [*DENSE, "training.duration=300 epochs"])
    assert estimates.seconds(longer) > seconds


@pytest.mark.parametrize(
    ("name", "path", "found"),
    [
        ("folder", "data/imagenet", ({"train": 1_281_167, "test": 50_000}, (224, 224, 3))),
        ("cifar10", "nowhere", ({"train": 50_000, "test": 10_000}, (32, 32, 3))),
        ("folder", "m/images", None),
    ],
)
def test_data_that_is_not_here_is_stood_in_for_by_what_is_known_of_it(name, path, found):
    config = cnn_jax.load_config(QUICKSTART, [f"data.name={name}", f"data.path={path}"])
    absent = UserError("absent")
    if found is None:
        with pytest.raises(UserError, match="absent"):
            stand_in(config, absent)
        return
    dataset, counts = stand_in(config, absent)
    assert dataset.image_shape == found[1]
    assert {split: counts[split] for split in found[0]} == found[0]


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = sweep_here("--grid=model.width=1", f"--workdir={tmp_path}/file")
    assert done.returncode == 1 and "choose another with --workdir=DIR" in done.stderr
    assert done.stderr.count("\n") == 1
    for arguments in (["--seeds=2"], ["--table=x"], ["--grid=model.width=1", "--only=2"]):
        done = sweep_here(*arguments)
        assert done.returncode == 2 and done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
