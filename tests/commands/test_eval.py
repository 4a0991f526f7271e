"""`launch.py eval`: any run, or weights from elsewhere, by a protocol; mistakes in one line."""

import json
import shutil

import jax
import numpy as np
import pytest

import cnn_jax
import launch
from cnn_jax import models
from cnn_jax.interop import torchvision, weights
from tests.conftest import ROOT

SQUEEZENET = str(ROOT / "experiments/squeezenet/imagenet.py")


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of a finished run, without what other tests have evaluated."""
    others = shutil.ignore_patterns("evaluations")
    return shutil.copytree(tiny_run, tmp_path / "run", ignore=others)


def evaluate(capsys, *arguments):
    code = launch.main(["eval", *map(str, arguments)])
    output = capsys.readouterr()
    assert code == 0, output.err
    return json.loads(output.out) if "--json" in arguments else output.out


def test_the_center_repeats_the_number_of_the_run_and_leaves_it_alone(run, capsys):
    before = cnn_jax.load_run(run).summary
    (found,) = evaluate(capsys, run, "--json")
    assert found["top1_error"] == before["test"]["top1_error"]
    assert found["loss"] == pytest.approx(before["test"]["loss"], rel=1e-5)
    assert (found["examples"], found["skipped"], found["step"]) == (360, 0, 60)
    opened = cnn_jax.load_run(run)
    assert opened.summary == before
    (row,) = opened.evaluations.to_dict("records")
    assert row == found
    with np.load(run / "evaluations" / found["files"] / "predictions.npz") as arrays:
        wrong = (arrays["logits"].argmax(1) != arrays["labels"]).mean()
        assert wrong == pytest.approx(found["top1_error"]) and len(arrays["class_names"]) == 10


@pytest.mark.parametrize(
    "protocol,views",
    [
        ("ten_crop", "shorter side to 9 (bilinear), four corners and center 8x8, with mirror"),
        ("multi_scale", "shorter side to 8, 9, 14, 17, 23 (bilinear), all of the image, mean of"),
    ],
)
def test_each_number_carries_its_protocol(protocol, views, run, capsys):
    out = evaluate(capsys, run, f"--protocol={protocol}", "--split=validation")
    assert f"step 60, {protocol}: {views}" in out
    (row,) = cnn_jax.load_run(run).evaluations.to_dict("records")
    assert (row["protocol"], row["split"], row["examples"]) == (protocol, "validation", 180)
    assert row["views"].startswith(views)


def test_sizes_flips_and_averages_are_chosen_by_flags(run, tmp_path, capsys):
    flags = ["--resize=12", "--crop=10", "--resize_to=square", "--flip", "--average=logits"]
    out = tmp_path / "out"
    (found,) = evaluate(capsys, run, *flags, "--filter=bicubic", f"--out={out}", "--json")
    assert found["views"] == (
        "both sides to 12 (bicubic), central crop 10x10, with mirror images, mean of the logits"
    )
    assert (out / found["files"] / "confusion.csv").exists()
    assert not (run / "evaluations").exists()


def test_raw_and_re_estimated_weights_stand_side_by_side(run, capsys):
    flags = ["--weights_of=raw,bn", "--bn_batches=4", "--no_logits", "--json"]
    raw, bn = evaluate(capsys, run, *flags)
    assert (raw["weights"], bn["weights"]) == ("raw", "bn")
    assert raw["loss"] != bn["loss"] and abs(raw["top1_error"] - bn["top1_error"]) < 0.2
    assert not list((run / "evaluations").rglob("*.npz"))


@pytest.mark.parametrize("kind", ["safetensors", "compressed"])
def test_weights_of_a_file_give_the_number_of_the_run_they_are_of(kind, run, tmp_path, capsys):
    opened, file = cnn_jax.load_run(run), tmp_path / f"w.{kind}"
    if kind == "safetensors":
        weights.save(file, opened.variables(), {})
    else:
        assert launch.main(["compress", str(run), f"--out={file}", "--lossless"]) == 0
        capsys.readouterr()
    config = [f"--config={ROOT}/experiments/quickstart.py", "--config.model.width=1"]
    (found,) = evaluate(capsys, f"--weights={file}", *config, "--json")
    assert found["top1_error"] == opened.summary["test"]["top1_error"]
    if kind == "compressed":  # it brings its own preprocessing
        (again,) = evaluate(
            capsys, f"--weights={file}", *config, "--config.preprocessing.mean=none", "--json"
        )
        assert again["loss"] == found["loss"]


@pytest.mark.parametrize(
    "arguments,message",
    [
        ([], "eval takes a RUN, or --weights=FILE with --config=FILE"),
        (["--weights=x.npz"], "--weights=FILE needs --config=FILE"),
        (["RUN", "--weights=x.npz"], "eval takes a RUN, or"),
        (["RUN", "--config=x.py"], "leave --config out"),
        (["RUN", "--protocol=tencrop"], "(did you mean 'ten_crop'?); choose from: center, "),
        (["RUN", "--weights_of=raw,average"], "unknown --weights_of 'average'"),
        (["RUN", "--weights_of=ema"], "has no weights 'ema'; it keeps raw ones"),
        (["RUN", "--split=dev"], "choose from: train, validation, test"),
        (["RUN", "--crop=9"], "smaller than the crop; give --resize"),
        (["RUN", "--resize=8", "--crop=9"], "a crop of 9 pixels out of images of 8"),
        (["RUN", "--protocol=multi_scale", "--crop=8"], "unknown size of the protocol multi"),
        (["RUN", "--sides=8,x"], "is no number of at least 1"),
        (["RUN", "--protocol=crops_144", "--sides=4,5,6,7"], "smaller --crop or larger --sides"),
        (["RUN", "--resize_to=circle"], "choose from: shorter, square"),
        (["RUN", "--config.view.evaluation.kind=center"], "'center' is cut out of a stream"),
        (["RUN", "--data=nowhere"], "digits take no data.path"),
        (["RUN", f"--out={__file__}"], "File exists"),
        (["RUN", "--config.model.width=2"], "stays as it was trained"),
        (
            ["--weights=none.npz", "--config=experiments/quickstart.py"],
            "no trained network none.npz",
        ),
    ],
)
def test_a_mistake_is_one_line_on_stderr(arguments, message, tiny_run, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    arguments = [str(tiny_run) if word == "RUN" else word for word in arguments]
    code = launch.main(["eval", *arguments])
    out, err = capsys.readouterr()
    assert code in (1, 2) and out == "" and err.count("\n") == 1 and message in err


def test_noise_is_evaluated_too(tmp_path, capsys):
    model = models.create("squeezenet", num_classes=10, version="1.1")
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    weights.save(tmp_path / "w.safetensors", variables, {})
    noise = f"--config={SQUEEZENET}:1.1,smoke"
    (found,) = evaluate(capsys, noise, f"--weights={tmp_path}/w.safetensors", "--json")
    assert (found["split"], found["examples"]) == ("test", 3)


def test_a_file_that_expects_other_images_is_a_warning_that_says_how_to_take_them(tmp_path, capsys):
    model = torchvision.module("squeezenet1_1", 10)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    np.savez(tmp_path / "w.npz", **torchvision.to_torch("squeezenet1_1", variables))
    command = ["eval", f"--config={SQUEEZENET}:1.1,smoke", f"--weights={tmp_path}/w.npz", "--json"]
    assert launch.main(command) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: images become (x - (123, 117, 104)) / (1)")
    fields = line.partition(": --")[2].removesuffix(" takes these").split(" --")
    assert launch.main([*command, *(f"--{field}" for field in fields)]) == 0
    assert capsys.readouterr().err == ""


@pytest.fixture
def imagenet(shared_data):
    """The arguments for the authors' weights and the 500 images."""
    net = shared_data / "squeezenet_deep_compression" / "compressed_SqueezeNet.net"
    images = shared_data / "imagenet_sample"
    if not (net.exists() and images.exists()):
        pytest.skip(f"{net} or {images} is absent")
    return [f"--config={SQUEEZENET}", f"--weights={net}", f"--config.data.path={images}"]


def test_a_network_too_deep_for_the_image_says_so(imagenet, capsys):
    code = launch.main(["eval", *imagenet, "--resize=16", "--crop=16"])
    assert code == 1 and "smallest are 21x21" in capsys.readouterr().err


def test_classes_without_a_list_do_not_fit_the_weights(imagenet, tmp_path, capsys):
    images = imagenet.pop().partition("=")[2]
    (tmp_path / "n01440764").symlink_to(f"{images}/n01440764")
    code = launch.main(["eval", *imagenet, f"--config.data.path={tmp_path}"])
    assert code == 1 and "has 1,000 classes and the data 1" in capsys.readouterr().err


@pytest.mark.slow
def test_the_authors_squeezenet_has_321_and_421_of_500_images_right(imagenet, capsys):
    (found,) = evaluate(capsys, *imagenet, "--json")
    assert found["views"] == "both sides to 256 (bilinear), central crop 227x227"
    assert found["examples"] == 500
    assert found["top1_right"] == pytest.approx(321, abs=3)
    assert found["top5_right"] == pytest.approx(421, abs=3)
