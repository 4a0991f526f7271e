"""What a prepared data set may name and must have, without one on disk."""

import json
import types

import pytest

from cnn_jax.data import tfds_builder
from cnn_jax.errors import UserError


def test_features_are_named_at_any_depth_under_three_keys():
    content = {
        "pythonClassName": "first",
        "features": [{"python_class_name": "second"}, {"name": "none", "type": "none"}],
        "type": "third",
        "content": json.dumps({"pythonClassName": "fourth", "type": "none"}),
    }
    assert list(tfds_builder.named_features(content)) == ["first", "second", "third", "fourth"]
    assert list(tfds_builder.named_features({"type": {"type": ["a"]}, "content": {}})) == []
    assert list(tfds_builder.named_features({"type": [{"pythonClassName": "a"}]})) == ["a"]
    assert list(tfds_builder.named_features(3)) == []


def opened(monkeypatch, tmp_path, file_format="array_record", classes=1, **kinds):
    """Opens a data set whose features are of these kinds."""
    import tensorflow_datasets as tfds

    features = {name: getattr(tfds.features, kind)() for name, kind in kinds.items()}
    info = types.SimpleNamespace(
        features=features, file_format=types.SimpleNamespace(value=file_format)
    )
    builder = types.SimpleNamespace(info=info)
    monkeypatch.setattr(tfds_builder, "check_features", lambda place: None)
    monkeypatch.setattr(tfds, "builder_from_directory", lambda place: builder)
    monkeypatch.setattr(tfds.features.ClassLabel, "names", ["a"])
    monkeypatch.setattr(tfds.features.ClassLabel, "num_classes", classes)
    assert tfds_builder.open_builder(tmp_path) is builder


def test_labeled_images_in_array_records_are_opened(monkeypatch, tmp_path):
    opened(monkeypatch, tmp_path, image="Image", label="ClassLabel", id="Text")
    with pytest.raises(UserError, match="is of tfrecord files, which need TensorFlow"):
        opened(monkeypatch, tmp_path, "tfrecord", image="Image", label="ClassLabel")


@pytest.mark.parametrize(
    "kinds",
    [
        {"image": "Image"},
        {"label": "ClassLabel"},
        {"image": "ClassLabel", "label": "Image"},
        {"image": "Image", "label": "Text"},
        {},
    ],
)
def test_other_data_sets_are_refused(kinds, monkeypatch, tmp_path):
    with pytest.raises(UserError, match="has no 'image' .Image. and 'label' .ClassLabel."):
        opened(monkeypatch, tmp_path, **kinds)


def test_there_is_a_name_for_each_class(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="1 names of 2 classes"):
        opened(monkeypatch, tmp_path, classes=2, image="Image", label="ClassLabel")
