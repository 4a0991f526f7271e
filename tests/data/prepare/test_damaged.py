"""A prepared data set with a damaged or a hostile file is told in a line, and runs no code."""

import json
import shutil
import sys

import numpy as np
import pytest

from cnn_jax.data import tfds_builder, tfds_source
from cnn_jax.data.prepare import check, preparation
from cnn_jax.errors import UserError
from tests.data.conftest import make_birds
from tests.data.prepare.preparing import load, prepare_all, silent

JSON = ("dataset_info.json", "features.json", "preparation.json", "label.labels.txt", "labels.npz")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of prepared data sets with one, which tests copy."""
    root = tmp_path_factory.mktemp("whole")
    prepare_all("birds", make_birds(root), root / "tfds", shard_bytes=10_000)
    return root / "tfds"


@pytest.fixture
def place(whole, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(whole, tmp_path / "tfds") / "birds" / "1.0.0"


def read_all(place):
    """Reads the data set as training does, and as `data check` does."""
    where = place.parent.parent
    outcomes = []
    for read in (
        lambda: load("tfds:birds", where, image_size=8).facts(),
        lambda: check.check("birds", where, silent)[2],
    ):
        try:
            outcomes.append(read())
        except UserError as error:
            assert "\n" not in str(error)
            outcomes.append(error)
    return outcomes


@pytest.mark.parametrize("file", JSON)
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"1", b"\xff\xfe", b"[" * 10_000])
def test_a_file_of_something_else_is_one_line(place, file, content):
    (place / file).write_bytes(content)
    trained, checked = read_all(place)
    if file in ("dataset_info.json", "features.json"):
        assert str(trained).startswith(f"cannot read {place}: one of its .json or .txt files")
    if file == "preparation.json":  # training does not read it
        assert f"{place / file} is damaged" in str(checked)


@pytest.mark.parametrize("file", JSON)
def test_no_damaged_byte_is_a_traceback(place, file):
    whole, rng = (place / file).read_bytes(), np.random.default_rng(0)
    for _ in range(25):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        (place / file).write_bytes(damaged)
        read_all(place)


EVIL = "tests.data.prepare.evil.Feature"


def name_evil(features):
    return {**features, "pythonClassName": EVIL}


def name_evil_within(features):
    features["featuresDict"]["features"]["id"] = {"pythonClassName": EVIL, "text": {}}
    return features


def name_evil_as_of_old(features):
    inner = {"type": EVIL, "content": {}}
    return {"type": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
            "content": {"image": inner}}  # fmt: skip


def name_evil_in_text(features):
    inner = json.dumps({"features": {"image": {"python_class_name": EVIL, "image": {}}}})
    return {"type": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
            "content": inner, "proto_cls": "tensorflow_datasets.FeaturesDict"}  # fmt: skip


@pytest.mark.parametrize(
    "change", [name_evil, name_evil_within, name_evil_as_of_old, name_evil_in_text]
)
def test_a_foreign_feature_s_module_is_not_imported(place, change, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    file = place / "features.json"
    text = json.dumps(change(json.loads(file.read_text())))
    file.write_text(text.replace(EVIL, "evil.Feature"))
    with pytest.raises(UserError, match="has the feature 'evil.Feature', whose code is not TFDS"):
        tfds_builder.open_builder(place)
    assert "evil" not in sys.modules


def test_the_module_that_a_foreign_data_set_is_from_is_not_imported(place, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    file = place / "dataset_info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "moduleName": "evil"}))
    assert tfds_source.Source("birds", "train", place.parent.parent).encoded(0)
    assert "evil" not in sys.modules


def test_every_feature_that_may_be_named_is_one_of_tfds():
    import tensorflow_datasets as tfds

    for name in tfds_builder.FEATURES:
        assert issubclass(
            tfds.features.FeatureConnector.cls_from_name(name), tfds.features.FeatureConnector
        )


def test_labels_that_are_more_or_fewer_than_the_images_are_told(place):
    np.savez(place / "labels.npz", train=np.zeros(19, np.int32), test=np.zeros(4, np.int32))
    with pytest.raises(UserError, match="train has 20 images and 19 labels"):
        load("tfds:birds", place.parent.parent, image_size=8)
    with pytest.raises(UserError, match="cannot read .*KeyError"):
        np.savez(place / "labels.npz", train=np.zeros(20, np.int32))
        tfds_source.Source("birds", "test", place.parent.parent)


def test_class_names_cut_short_are_told(place):
    (place / "label.labels.txt").write_text("owl\n")
    with pytest.raises(UserError, match="cannot read .*1 names of 2 classes"):
        load("tfds:birds", place.parent.parent, image_size=8)


def test_damaged_notes_of_an_interrupted_preparation_are_as_good_as_none(place):
    file = place / "preparation.json"
    made_from = json.loads(file.read_text())["made_from"]
    assert preparation.begin(place, made_from)["shards"]
    file.write_text(file.read_text().replace('"skipped": []', '"skipped": [[0, ""]]', 1))
    assert preparation.begin(place, made_from) == {"made_from": made_from, "shards": {}}


@pytest.mark.parametrize(
    "before,after", [("checksum", "checks\x7fm"), ('"skipped": []', '"skipped": [1]')]
)
def test_notes_with_another_word_or_number_are_told(place, before, after):
    file = place / "preparation.json"
    file.write_text(file.read_text().replace(before, after, 1))
    with pytest.raises(UserError, match=f"{file} is damaged"):
        preparation.read(place)


def test_notes_from_before_there_was_a_checksum_are_read(place):
    file = place / "preparation.json"
    notes = json.loads(file.read_text())
    del notes["checksum"]
    file.write_text(json.dumps(notes))
    assert preparation.read(place) == notes


def test_damaged_notes_of_a_complete_data_set_are_told_when_it_is_prepared_again(place, whole):
    file = place / "preparation.json"
    file.write_text(file.read_text()[:-20])
    birds = whole.parent / "birds"
    with pytest.raises(UserError, match=f"{file} is damaged .*; remove {place}"):
        prepare_all("birds", birds, place.parent.parent, shard_bytes=10_000)
