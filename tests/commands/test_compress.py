"""`launch.py compress`: from a run to a file that eval, predict and load_run take as one."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import cnn_jax
import launch
from cnn_jax.compression import archive
from cnn_jax.interop import deep_compression

DATA = Path(
    os.environ.get("CNN_JAX_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
NET = DATA / "squeezenet_deep_compression" / "compressed_SqueezeNet.net"
needs_net = pytest.mark.skipif(not NET.exists(), reason=f"{NET} is absent")


def run(capsys, *arguments):
    code = launch.main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def lossless(tiny_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("compressed") / "tiny.cnn"
    assert launch.main(["compress", str(tiny_run), f"--out={path}", "--lossless"]) == 0
    return path


def test_a_lossless_file_is_the_run(tiny_run, lossless):
    before, after = cnn_jax.load_run(tiny_run), cnn_jax.load_run(lossless)
    assert after.class_names == before.class_names and after.image_shape == before.image_shape
    assert after.config.to_dict() == before.config.to_dict()
    jax.tree.map(np.testing.assert_array_equal, after.variables(), before.variables())
    images = np.random.default_rng(0).integers(0, 256, (3, *before.image_shape), np.uint8)
    np.testing.assert_array_equal(after.predict(images), before.predict(images))


def test_eval_and_predict_take_the_file(lossless, tiny_run, tmp_path, capsys):
    expected = run(capsys, "eval", tiny_run, f"--out={tmp_path}")[1]
    code, out, _ = run(capsys, "eval", lossless)
    numbers = [[line for line in text.splitlines() if "│" in line] for text in (out, expected)]
    assert code == 0 and numbers[0] == numbers[1] != []
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "a.png")
    code, out, _ = run(capsys, "predict", lossless, tmp_path / "a.png")
    assert code == 0 and "a.png" in out


@pytest.mark.parametrize("how", ["--bits=4", "--quality=6"])
def test_a_smaller_file_is_smaller_and_prints_its_size_and_errors(how, tiny_run, tmp_path, capsys):
    path = tmp_path / "a.cnn"
    code, out, _ = run(capsys, "compress", tiny_run, f"--out={path}", how, "--split=test")
    assert code == 0 and f"{path.stat().st_size:,} bytes" in out and "MiB" in out
    assert "before" in out and "after" in out and "conv1" in out and "total" in out
    weights = sum(x.size for x in jax.tree.leaves(cnn_jax.load_run(tiny_run).variables()))
    assert path.stat().st_size < 4 * weights / 4
    if how == "--bits=4":  # nothing was pruned
        (total,) = (line.split("│")[1:-1] for line in out.splitlines() if "total" in line)
        assert [cell.strip() for cell in total][2:4] == ["100.0%", "4.0"]


def test_mistakes_are_one_line(tiny_run, lossless, tmp_path, capsys):
    out = f"--out={tmp_path / 'a.cnn'}"
    for arguments, message in (
        ((tiny_run, out, "--lossless", "--bits=4"), "exclude each other"),
        ((tmp_path / "none", out), "no trained network"),
        ((tiny_run, f"--out={tmp_path / 'no' / 'a'}"), "no folder"),
        ((tiny_run, out, f"--images={tmp_path}"), "no images"),
        ((tiny_run, out, "--images=folder", "--bits=4"), "leave it out with --bits"),
        ((tiny_run, out, "--quality=7", "--bits=4"), "--bits and --quality exclude each other"),
        ((tiny_run, out, "--quality=nan"), "is no number from 0 to 20"),
        ((tiny_run, out, "--quality=-400"), "is no number from 0 to 20"),
        ((tiny_run, out, "--split=nope"), "unknown split of digits 'nope'"),
        ((tiny_run, f"--out={tmp_path}"), "is a folder"),
        ((tmp_path / "a.net", out, "--split=test"), "launch.py eval --weights=FILE"),
    ):
        code, stdout, err = run(capsys, "compress", *arguments)
        assert code in (1, 2) and stdout == "" and message in err and err.count("\n") == 1
        assert not list(tmp_path.iterdir())
    (tmp_path / "foreign").write_bytes(b"something")
    assert "is no compressed network" in run(capsys, "eval", tmp_path / "foreign")[2]
    err = run(capsys, "eval", lossless, "--weights_of=ema")[2]
    assert "has no weights 'ema'; it was made of 'raw' ones" in err
    found = archive.read(lossless)
    archive.write(tmp_path / "other", found.arrays, found.about | {"num_classes": 3, "config": {}})
    assert "describes no network" in run(capsys, "eval", tmp_path / "other")[2]
    for changed, message in (
        ({"num_classes": 10**12, "class_names": None}, "other weights than its network"),
        ({"class_names": ["one"]}, "has 1 names for 10 classes"),
    ):
        archive.write(tmp_path / "other", found.arrays, found.about | changed)
        assert message in run(capsys, "eval", tmp_path / "other")[2]
    arrays = dict(list(found.arrays.items())[1:])
    archive.write(tmp_path / "part", arrays, found.about)
    assert "other weights than its network" in run(capsys, "eval", tmp_path / "part")[2]


@needs_net
@pytest.mark.slow
def test_the_authors_weights_take_less_than_0_55_mb_exactly(tmp_path, capsys):
    path = tmp_path / "squeezenet.cnn"
    code, out, _ = run(capsys, "compress", NET, f"--out={path}", "--lossless")
    assert code == 0 and "fire9/expand3x3" in out
    assert path.stat().st_size < 550_000
    expected = deep_compression.read(NET)["params"]
    expected["conv1"]["kernel"] = expected["conv1"]["kernel"][:, :, ::-1]  # RGB
    found = cnn_jax.load_run(path)
    jax.tree.map(np.testing.assert_array_equal, found.variables()["params"], expected)
    assert found.image_shape == (227, 227, 3) and len(found.class_names) == 1000
    view = found.evaluation_view  # the recipe's
    assert (view.size, view.resize, view.square) == ((227, 227), 256, True)
