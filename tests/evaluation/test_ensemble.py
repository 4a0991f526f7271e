"""Ensembles: the mean of the networks' scores, over images that all of them see alike."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import cnn_jax
import launch
from cnn_jax.errors import UserError
from cnn_jax.evaluation import ensemble
from cnn_jax.evaluation.evaluate import evaluate
from cnn_jax.evaluation.predict import Predictions
from cnn_jax.evaluation.target import of_run

SURE = np.log(np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], np.float32))
UNSURE = np.log(np.array([[0.1, 0.7, 0.2], [0.4, 0.3, 0.3]], np.float32))


def predictions(logits, index=(0, 1)):
    return Predictions(np.array(index, np.int32), np.array([1, 0], np.int32)[: len(index)], logits)


def test_the_softmax_of_the_networks_is_averaged():
    mean = ensemble.mean([predictions(SURE + 2), predictions(UNSURE)], "softmax").logits
    np.testing.assert_allclose(np.exp(mean), [[0.3, 0.5, 0.2], [0.3, 0.25, 0.45]], rtol=1e-5)


def test_or_their_logits_are():
    mean = ensemble.mean([predictions(SURE + 2), predictions(UNSURE)], "logits").logits
    np.testing.assert_allclose(mean, (SURE + 2 + UNSURE) / 2, rtol=1e-6)


def test_an_image_that_one_network_skipped_is_skipped():
    whole, partly = predictions(SURE), predictions(UNSURE[:1], index=(0,))
    found = [({}, {"raw": whole}, {}), ({}, {"ema": partly}, {1: "cannot be read"})]
    values, combined, bad = ensemble.combine(found, "softmax")
    assert (values["raw+ema"]["examples"], values["raw+ema"]["skipped"]) == (1, 1)
    assert values["raw+ema"]["top1_error"] == 0  # 0.5 of 1 is the mean of 0.3 and 0.7
    assert list(combined["raw+ema"].index) == [0] and bad == {1: "cannot be read"}


@pytest.fixture(scope="module")
def pair(tiny_run, tmp_path_factory):
    """Two runs of the same weights; the second is to preprocess in another way."""
    folder = tmp_path_factory.mktemp("pair")
    paths = [shutil.copytree(tiny_run, folder / name) for name in ("a", "b")]
    with np.load(paths[1] / "preprocessing.npz") as arrays:
        shifted = dict(arrays) | {"mean": arrays["mean"] + np.float32(60)}
    np.savez(paths[1] / "preprocessing.npz", **shifted)
    return paths


def logits_of(path):
    run = cnn_jax.load_run(path)
    target = of_run(run, [])
    view = target.protocol("center", {})
    found = evaluate(target, {"w": run.variables()}, target.examples("test")[1], view, 360)
    return found[1]["w"]


def test_each_network_of_the_command_has_its_own_preprocessing(pair, tmp_path, capsys):
    code = launch.main(["eval", *map(str, pair), "--ensemble", f"--out={tmp_path}", "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    (entry,) = json.loads(out)
    each = [logits_of(path) for path in pair]
    softmax = [np.exp(p.logits - np.logaddexp.reduce(p.logits, 1)[:, None]) for p in each]
    assert np.abs(softmax[0] - softmax[1]).max() > 0.1
    with np.load(tmp_path / entry["files"] / "predictions.npz") as arrays:
        np.testing.assert_allclose(np.exp(arrays["logits"]), sum(softmax) / 2, atol=1e-5)
    error = (sum(softmax).argmax(1) != each[0].labels).mean()
    assert entry["top1_error"] == pytest.approx(error)
    assert "step" not in entry and [one["step"] for one in entry["ensemble"]] == [60, 60]


def test_the_python_api_takes_a_list_of_runs(pair):
    same = cnn_jax.evaluate([pair[0], pair[0]], average="logits")
    assert same == cnn_jax.evaluate(pair[0])


@pytest.fixture
def targets(pair):
    return [of_run(cnn_jax.load_run(path), []) for path in pair]


def refused(targets, message):
    """`check_alike` of the validation splits ends in one line with the message."""
    members = [
        ensemble.Member(title, target, "validation", target.protocol("center", {}))
        for title, target in zip("ab", targets, strict=True)
    ]
    with pytest.raises(UserError, match=f"a and b are no ensemble: .*{message}"):
        ensemble.check_alike(members)


def test_networks_with_other_classes_are_no_ensemble(targets):
    names = ("zero", *targets[0].class_names[1:])
    changed = targets[1]._replace(dataset=replace(targets[1].dataset, class_names=names))
    refused([targets[0], changed], "10 and 10 classes that differ, from class 0 on")


def test_networks_with_other_held_out_images_are_no_ensemble(targets):
    config = targets[1].config.copy_and_resolve_references()
    config.data.validation_size = 180
    refused([targets[0], targets[1]._replace(config=config)], "on other images")


def test_networks_that_see_other_views_are_no_ensemble(targets):
    target = targets[0]
    views = [target.protocol("ten_crop", {"crop": crop, "resize": 9}) for crop in (7, 8)]
    members = [ensemble.Member("a", target, None, view) for view in views]
    with pytest.raises(UserError, match="7x7.*8x8.*give the sizes, as --resize"):
        ensemble.check_alike(members)


def test_several_runs_without_the_word_are_refused(pair, capsys):
    assert launch.main(["eval", *map(str, pair)]) == 2
    assert "only with --ensemble" in capsys.readouterr().err
