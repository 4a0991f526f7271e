"""The command line does what its help says, and tells mistakes in one line."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import launch
from tests.conftest import ROOT


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
    for command in launch.COMMANDS:
        assert re.search(rf"^  {command} ", out, re.MULTILINE)


@pytest.mark.parametrize("command", launch.COMMANDS)
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
        (["eval"], "the following arguments are required: RUN"),
        (["eval", "nowhere"], "nowhere is not a run"),
        (["summary", "--image=32"], "write HxWxC"),
    ],
)
def test_a_mistake_is_one_line_on_stderr(arguments, message, capsys):
    code, out, err = run(capsys, *arguments)
    assert code in (1, 2) and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err


def test_list_shows_networks_data_sets_and_experiments(capsys):
    _, out, _ = run(capsys, "list")
    for word in ("wide_resnet", "fashion_mnist", "experiments/resnet/cifar10.py", "plain"):
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


def test_eval_repeats_the_number_of_the_run(tiny_run, capsys):
    import cnn_jax

    _, out, _ = run(capsys, "eval", str(tiny_run))
    assert f"{cnn_jax.load_run(tiny_run).summary['test']['top1_error']:.2%}" in out
    assert "step 57" in out


def test_eval_of_an_unknown_split_is_refused(tiny_run, capsys):
    code, _, err = run(capsys, "eval", str(tiny_run), "--split=dev")
    assert code == 2 and "choose from: train, validation, test" in err


def test_predict_reads_images_of_any_size(tiny_run, tmp_path, capsys):
    Image.fromarray(np.full((30, 50, 3), 200, np.uint8)).save(tmp_path / "grey.png")
    code, out, _ = run(capsys, "predict", str(tiny_run), str(tmp_path / "grey.png"), "--top=2")
    assert code == 0 and "grey.png" in out and "%" in out


def test_predict_names_an_image_that_it_cannot_read(tiny_run, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no image")
    code, _, err = run(capsys, "predict", str(tiny_run), str(tmp_path / "broken.png"))
    assert code == 1 and "broken.png" in err and err.count("\n") == 1
