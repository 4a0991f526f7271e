"""`launch.py features` writes what `run.features` gives, and tells mistakes in one line."""

import numpy as np
import pytest
from PIL import Image

import cnn_jax
from tests.conftest import ROOT, launch_here


def test_the_features_of_a_split_go_into_a_file(dense_run, tmp_path):
    out = tmp_path / "f.npz"
    done = launch_here("features", dense_run, "--layers=ip1,ip2", f"--out={out}", "--split=train")
    assert done.returncode == 0, done.stderr
    found = np.load(out)
    assert found["ip1"].shape == (len(found["labels"]), 300)
    assert f"{len(found['labels'])}x300" in done.stdout and str(out) in done.stdout


def test_the_features_of_image_files_are_those_of_the_images(dense_run, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype(np.uint8)
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image[..., 0]).save(file)
    done = launch_here("features", dense_run, *files, f"--out={tmp_path / 'f.npz'}")
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "f.npz")
    assert found["files"].tolist() == [str(file) for file in files]
    expected = cnn_jax.load_run(dense_run).embed(images)
    np.testing.assert_allclose(found["embedding"], expected, atol=1e-5)


def test_weights_from_elsewhere_see_the_data_of_a_config(dense_run, dense_config, tmp_path):
    weights = tmp_path / "weights.npz"
    variables = cnn_jax.load_run(dense_run).variables()["params"]
    arrays = {f"params/{a}/{b}": array for a, own in variables.items() for b, array in own.items()}
    np.savez(weights, **arrays)
    fields = ("model.name=lenet", "model.variant=300-100", "augmentation.crop_padding=0")
    config = [f"--config={ROOT / 'experiments/quickstart.py'}", *(f"--config.{f}" for f in fields)]
    out = tmp_path / "f"
    done = launch_here("features", f"--weights={weights}", *config, f"--out={out}")
    assert done.returncode == 0, done.stderr
    expected = cnn_jax.features(dense_run)["embedding"]
    np.testing.assert_allclose(np.load(out / "embedding.npy"), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--layers=ip7"], "no layer 'ip7'; the nearest are ip"),
        (["RUN", "--split=tset"], "unknown split"),
        ([], "features takes a RUN"),
        (["--weights=w.npz"], "--weights=FILE needs --config=FILE"),
        (["RUN", "no.png"], "cannot read the image no.png"),
        (["RUN", "--step=7"], "has no checkpoint '7'"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, dense_run, tmp_path):
    given = [dense_run if word == "RUN" else word for word in arguments]
    done = launch_here("features", *given, f"--out={tmp_path / 'f.npz'}")
    assert done.returncode in (1, 2) and done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "f.npz").exists()
