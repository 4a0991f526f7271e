"""The command line does what its help says, and tells mistakes in one line."""

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import launch
from cnn_jax.bench import checks
from cnn_jax.commands import command_line
from cnn_jax.commands.command_line import COMMANDS
from tests.conftest import DENSE, ROOT


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "200")


def run(capsys, *arguments):
    code = launch.main(list(arguments))
    output = capsys.readouterr()
    return code, output.out, output.err


def test_help_names_every_command(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", out, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_of_its_own(command, capsys):
    with pytest.raises(SystemExit) as caught:
        launch.main([command, "--help"])
    assert caught.value.code == 0 and command in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["trian"], "unknown command 'trian' (did you mean 'train'?)"),
        (["train", "--wrokdir=x"], "(did you mean '--workdir'?)"),
        (["train", "--config.seeed=1"], "(did you mean 'seed'?)"),
        (["train", "--config=experiments/quickstar.py"], "no experiment file"),
        (["eval"], "eval takes a RUN, or --weights=FILE with --config=FILE"),
        (["eval", "nowhere"], "nowhere is not a run"),
        (["summary", "--image=32"], "write HxWxC"),
        (["bench", "--against=torhc"], "(did you mean 'torch'?)"),
        (["bench", "--fake", "--image=8"], "write HxWxC"),
        (["bench", "--config=experiments/resnet/cifar10.py", "--config.data.path=none"], "none"),
        (["train", "--epochs=3"], "train has no --epochs; write --config.training.duration='3 ep"),
        (["train", "--lr", "0.1"], "train has no --lr; write --config.learning_rate.rate=0.1"),
        (["train", "--config.seed"], "--config.seed lacks its value: write --config.seed=VALUE"),
        (["train", "a.py:20"], "train takes the experiment as --config=a.py:20"),
        (["a.py:20"], "'a.py:20' is no command: python launch.py train --config=a.py:20"),
        (["train", "--config=quikstart.py"], "did you mean experiments/quickstart.py?"),
        (["train", "--config.training.batch_size", "x"], "takes a whole number, not 'x'"),
        (["predict", "RUN", "IMAGE", "--lr=1"], "unknown argument of predict '--lr=1'"),
    ],
)
def test_a_mistake_is_one_line_on_stderr(arguments, message, capsys):
    code, out, err = run(capsys, *arguments)
    assert code in (1, 2) and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err


def test_a_value_may_stand_behind_a_space():
    words = ["train", "--config.training.batch_size", "32", "--config.seed=1", "--workdir", "x"]
    _, parsed = command_line.parse(words, command_line.LAUNCH)
    assert parsed.overrides == ["training.batch_size=32", "seed=1"]
    assert str(parsed.workdir) == "x"


@pytest.mark.parametrize(
    "error,line",
    [
        (KeyError("x"), "error: KeyError: 'x' ("),
        (FileNotFoundError(2, "No such file", "x"), "error: [Errno 2] No such file: 'x' ("),
    ],
)
def test_a_surprise_is_one_line_with_its_place_and_debug_shows_the_traceback(
    error, line, capsys, monkeypatch
):
    def run(*_):
        raise error

    monkeypatch.setattr("cnn_jax.commands.list.run", run)
    monkeypatch.setenv("CNN_JAX_DEBUG", "0")
    code, (out, err) = launch.main(["list"]), capsys.readouterr()
    assert (code, out) == (1, "") and err.startswith(line) and err.count("\n") == 1
    assert "--debug shows the traceback" in err
    assert launch.main(["list", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_list_shows_networks_data_sets_and_experiments(capsys):
    _, out, _ = run(capsys, "list")
    for word in (
        "wide_resnet",
        "fashion_mnist",
        "experiments/resnet/cifar10.py",
        "plain",
        "table_6",
    ):
        assert word in out


def test_summary_adds_up_to_the_parameters_of_the_paper(capsys):
    arguments = ["--config.model.name=cifar_resnet", "--image=32x32x3"]
    _, out, _ = run(capsys, "summary", *arguments)
    assert "269,722" in out and "conv4/block3/conv2" in out


def test_summary_shows_the_published_number_and_the_difference(capsys):
    arguments = ["--config.model.name=resnet", "--image=224x224x3", "--classes=1000"]
    _, out, _ = run(capsys, "summary", *arguments)
    assert "Table 1: 3,800,000,000 multiply-adds, difference +57,973,248, +1.53%" in out


def test_summary_as_json_has_layers_totals_and_published_sizes(capsys):
    arguments = ["--config.model.name=squeezenet", "--image=227x227x3", "--classes=1000", "--json"]
    _, out, _ = run(capsys, "summary", *arguments)
    found = json.loads(out)
    assert found["total"]["parameters"] == 1_248_424
    assert found["layers"][0]["output_shape"] == [111, 111, 96]
    assert found["layers"][0]["activation_bytes"] == 4 * 111 * 111 * 96
    assert 1_248_424 in [size["value"] for size in found["published"]]


def test_eval_repeats_the_number_of_the_run(tiny_run, tmp_path, capsys):
    import cnn_jax

    _, out, _ = run(capsys, "eval", str(tiny_run), f"--out={tmp_path}")
    assert f"{cnn_jax.load_run(tiny_run).summary['test']['top1_error']:.2%}" in out
    assert "step 60" in out


def test_eval_of_an_unknown_split_is_refused(tiny_run, capsys):
    code, _, err = run(capsys, "eval", str(tiny_run), "--split=dev")
    assert code == 2 and "choose from: train, validation, test" in err


def test_predict_reads_images_of_any_size(tiny_run, tmp_path, capsys):
    Image.fromarray(np.full((30, 50, 3), 200, np.uint8)).save(tmp_path / "gray.png")
    code, out, _ = run(capsys, "predict", str(tiny_run), str(tmp_path / "gray.png"), "--top=2")
    assert code == 0 and "gray.png" in out and "%" in out


def test_predict_names_an_image_that_it_cannot_read(tiny_run, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no image")
    code, _, err = run(capsys, "predict", str(tiny_run), str(tmp_path / "broken.png"))
    assert code == 1 and "broken.png" in err and err.count("\n") == 1


def test_bench_prints_a_table_and_writes_the_same_as_json(capsys, tmp_path):
    network = [f"--config.{override}" for override in DENSE[:2]]
    arguments = [*network, "--batch=8", "--steps=2", "--rounds=1", "--seconds=0"]
    file = tmp_path / "bench.json"
    _, out, _ = run(capsys, "bench", *arguments, f"--out={file}")
    found = json.loads(file.read_text())
    assert (found["batch_size"], found["steps"], found["mode"]) == (8, 2, "training")
    assert found["overrides"] == DENSE[:2]
    assert f"{found['images_per_second']['loop']:,.1f}" in out and "compiled in" in out


def test_bench_as_json_prints_nothing_else(capsys):
    arguments = ["--config=experiments/resnet/cifar10.py:20", "--fake", "--image=8x8x3"]
    arguments += ["--inference", "--batch=2", "--steps=1", "--rounds=1", "--seconds=0", "--json"]
    _, out, err = run(capsys, "bench", *arguments)
    assert json.loads(out)["mode"] == "inference" and err == ""


def test_bench_without_torch_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("torch_ways", "torch_networks"):
        monkeypatch.delitem(sys.modules, f"cnn_jax.bench.{name}", raising=False)
        monkeypatch.delattr(f"cnn_jax.bench.{name}", raising=False)
    code, out, err = run(capsys, "bench", "--against=torch", "--fake")
    assert code == 1 and out == "" and err.count("\n") == 1
    assert "pip install torch torchvision" in err


def test_doctor_leaves_with_0_where_all_is_well_and_with_1_where_it_is_not(
    capsys, tmp_path, monkeypatch
):
    # `tests/bench/test_checks.py` trains.
    quick = tuple(check for check in checks.CHECKS if check is not checks.check_training)
    monkeypatch.setattr(checks, "CHECKS", quick)
    code, out, err = run(capsys, "doctor", f"--workdir={tmp_path}")
    assert code == 0 and "checkpoint" in out and err == ""
    arguments = ["--config=experiments/resnet/cifar10.py", "--config.data.path=nowhere"]
    code, out, err = run(capsys, "doctor", f"--workdir={tmp_path}", *arguments)
    assert code == 1 and "FAIL" in out
    assert "1 of" in err and "data (cifar10)" in err and err.count("\n") == 1


def test_of_what_threads_complain_orbaxs_closed_loop_alone_is_kept_back(monkeypatch):
    printed = []
    monkeypatch.setattr(sys, "__unraisablehook__", printed.append)
    complaints = [
        SimpleNamespace(exc_value=RuntimeError(reason))
        for reason in ("Event loop is closed", "something else")
    ]
    for complaint in complaints:
        command_line.ignore_closed_loop(complaint)
    assert printed == complaints[1:]
