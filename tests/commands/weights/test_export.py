"""`launch.py export` writes trained networks, and says in one line what it cannot."""

import argparse
import json
import shutil
import sys

import jax
import numpy as np
import pytest

import cnn_jax
import launch
from cnn_jax.commands.weights import export
from cnn_jax.errors import UserError
from cnn_jax.interop.export import exported
from tests.conftest import launch_here


def test_a_run_becomes_a_file_and_what_it_takes_stands_beside_it(dense_run, tmp_path):
    done = launch_here("export", dense_run, "--to=stablehlo", f"--out={tmp_path}/net.stablehlo")
    assert done.returncode == 0, done.stderr
    told = "net.json: says that it takes uint8 images [batch, 8, 8, 1], and names its 10 classes\n"
    assert done.stdout.endswith(told)
    about = json.loads((tmp_path / "net.json").read_text())
    assert about["class_names"] == [str(digit) for digit in range(10)]


def test_a_package_that_is_not_there_is_named_and_no_file_is_left(dense_run, tmp_path, monkeypatch):
    monkeypatch.setitem(
        sys.modules, "jax._src.export.serialization", None
    )  # as without flatbuffers
    done = launch_here("export", dense_run, "--to=stablehlo", f"--out={tmp_path}/net.stablehlo")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "pip install flatbuffers" in done.stderr and not list(tmp_path.iterdir())


def test_a_run_that_became_onnx_is_the_same_run(dense_run, tmp_path):
    pytest.importorskip("onnx")
    done = launch_here("export", dense_run, "--to=onnx", f"--out={tmp_path}/net.onnx")
    assert done.returncode == 0, done.stderr
    run, again = cnn_jax.load_run(dense_run), cnn_jax.load_pretrained(tmp_path / "net.onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1)).astype(np.uint8)
    assert np.array_equal(again.predict(images), run.predict(images))
    assert again.class_names == run.class_names


def test_batch_statistics_are_measured_anew(tiny_run):
    arguments = {"source": str(tiny_run), "step": "last", "weights_of": "bn", "bn_batches": 1}
    run = cnn_jax.load_run(tiny_run)
    found = export.variables(run, argparse.Namespace(**arguments, overrides=[]))
    raw = export.variables(run, argparse.Namespace(**arguments | {"weights_of": None}))
    assert jax.tree.all(jax.tree.map(np.array_equal, found["params"], raw["params"]))
    stats = [jax.tree.leaves(tree["batch_stats"]) for tree in (found, raw)]
    assert not any(map(np.array_equal, *stats))


@pytest.mark.parametrize("format, name", [("safetensors", "net.safetensors"), ("hub", "net")])
def test_a_run_that_left_as_arrays_comes_back_with_its_classes(
    format, name, tiny_run, tmp_path, capsys
):
    out = tmp_path / name
    assert launch.main(["export", str(tiny_run), f"--to={format}", f"--out={out}"]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    run, again = cnn_jax.load_run(tiny_run), cnn_jax.load_pretrained(out)
    assert again.class_names == run.class_names
    images = np.random.default_rng(0).integers(0, 256, (3, *run.image_shape)).astype(np.uint8)
    np.testing.assert_allclose(again.predict(images), run.predict(images), atol=1e-5)


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--to=onx"], "unknown format 'onx' (did you mean 'onnx'?); choose from: onnx, "),
        (["--to=stablehlo", "--out=."], "--out=. is there already"),
        (["--to=stablehlo", "--out=none/net"], "no folder none to write net into"),
        (["--to=stablehlo", "--weights_of=raw,bn"], "choose from: raw, ema, bn, ema_bn"),
        (["--to=stablehlo", "--weights_of=ema"], "has no weights 'ema'; it keeps raw ones"),
        (["--to=stablehlo", "--names=timm"], "--to=stablehlo takes no --names"),
        (["--to=torch"], "a state dict of PyTorch is called .pth, not net"),
        (["--to=hub", "--raw"], "--to=hub takes no --raw"),
        (["--to=stablehlo", "--step=7"], "has no checkpoint '7'"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, dense_run, tmp_path):
    given = [f"--out={tmp_path}/net", *arguments]
    done = launch_here("export", dense_run, *given)
    assert done.returncode and message in done.stderr and done.stderr.count("\n") == 1


def test_without_the_onnx_package_it_says_which_extra_has_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "cnn_jax.interop.export.onnx", raising=False)
    with pytest.raises(UserError, match=r"needs the onnx package: pip install onnx"):
        exported.writer("onnx")


def test_a_run_without_checkpoints_and_another_network_beside_the_file_are_refused(
    dense_run, tmp_path
):
    shutil.copytree(dense_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    done = launch_here("export", tmp_path / "run", "--to=stablehlo", f"--out={tmp_path}/net")
    assert done.stderr == f"error: {tmp_path}/run has no checkpoint yet\n"
    (tmp_path / "net.json").write_text("{}")
    done = launch_here("export", dense_run, "--to=stablehlo", f"--out={tmp_path}/net")
    assert "net.json describes another network, not net: remove it" in done.stderr


def test_half_precision_and_scans_are_for_training_alone():
    settings = {"name": "cifar_resnet", "num_classes": 10, "dtype": "bfloat16", "remat": True}
    about = dict.fromkeys(("name", "preprocessing", "view", "image_shape", "class_names", "recipe"))
    kernels = {"conv2": {"block1": {"a": np.ones(2)}, "blocks": {"a": np.ones((8, 2))}}}
    found = exported.create(settings, {"params": kernels}, **about)
    assert found.model.dtype == "float32" and found.model.unroll and not found.model.remat
    assert sorted(found.variables["params"]["conv2"]) == [f"block{i + 1}" for i in range(9)]
