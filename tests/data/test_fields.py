"""The fields of the group `data`: which go together, and up to where each is taken."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cnn_jax import data
from cnn_jax.data import digits
from cnn_jax.data.stream import reader, streamed
from cnn_jax.errors import UserError

READING = reader.Reading(threads=0, workers=0, prefetch=1, process=0, processes=1)


@pytest.mark.parametrize(
    "name,path,image_size,split_seed,told",
    [
        ("digits", None, None, 0, None),
        ("folder", "here", 1, 0, None),
        ("tfds:birds", None, 8, 9, None),
        ("fake:64,10", None, 8, 0, None),
        ("cifar", None, None, 0, "data set 'cifar'"),
        ("digits", "here", None, 0, "digits take no data.path"),
        ("fake:64,10", "here", 8, 0, "fake take no data.path"),
        ("folder", "here", 0, 0, "data.image_size 0 with folder"),
        ("cifar10", "here", 32, 0, "data.image_size 32 with cifar10"),
        ("folder", "here", None, -1, "data.split_seed -1 is negative"),
    ],
)
def test_fields_go_with_the_data_set(name, path, image_size, split_seed, told):
    if told is None:
        data.check_fields(name, path, image_size, split_seed)
    else:
        with pytest.raises(UserError, match=told):
            data.check_fields(name, path, image_size, split_seed)


def test_lists_and_skipping_are_for_streams():
    data.check_in_memory("raise", class_list=None, exclude=None)
    for on_error, lists, told in [
        ("skip", {}, "data.on_error 'skip' is for streams"),
        ("raise", {"exclude": "list"}, "data.exclude is for streams"),
    ]:
        with pytest.raises(UserError, match=told):
            data.check_in_memory(on_error, **lists)


@pytest.mark.parametrize("field,least", [("threads", 0), ("workers", 0), ("prefetch", 1)])
def test_readers_are_taken_down_to_their_least_number(field, least):
    dataclasses.replace(READING, **{field: least})
    with pytest.raises(UserError, match=f"data.{field} is {least - 1}: it must be {least} or"):
        dataclasses.replace(READING, **{field: least - 1})


def test_each_process_has_a_slice_of_every_batch():
    slices = [
        dataclasses.replace(READING, process=i, processes=3).local_slice(12) for i in range(3)
    ]
    assert slices == [slice(0, 4), slice(4, 8), slice(8, 12)]
    with pytest.raises(UserError, match="a batch of 13 does not divide among 3 processes"):
        dataclasses.replace(READING, processes=3).local_slice(13)


def test_twenty_bad_images_are_named_and_the_rest_is_counted_once():
    found = reader.BadImages()
    found.add("train", {i: f"image {i}" for i in range(19)})
    found.add("train", {0: "image 0"})
    found.add("test", {0: "image 0 of test"})
    assert found.warnings() == [f"skipped: image {i}" for i in range(19)] + [
        "skipped: image 0 of test"
    ]
    assert found.warnings() == []
    found.add("test", {1: "a", 2: "b"})
    assert found.warnings() == ["skipped: 2 more, 22 in all"]


def test_digits_are_gray_values_of_sixteen_steps_up_to_white():
    split = digits.load(None, None).splits["train"]
    shades = {round(step * 255 / 16) for step in range(17)}
    assert set(np.unique(split.images)) == shades and split.images.dtype == np.uint8
    assert split.images[:3].sum((1, 2, 3)).tolist() == SUMS and split.labels[:5].tolist() == LABELS


# Other digits would give another end to a run that was stopped before an upgrade.
SUMS, LABELS = [4687, 4989, 5483], [0, 1, 2, 3, 4]


FIELDS = {
    "path": "~/here",
    "image_size": 8,
    "validation_size": 5,
    "split_seed": 3,
    "class_list": None,
    "exclude": None,
    "on_error": "raise",
    "decoder": "pillow",
    "threads": 1,
    "workers": 2,
    "prefetch": 4,
}


def test_data_in_memory_is_loaded_with_its_fields(monkeypatch):
    monkeypatch.setattr(data, "load", lambda name, **fields: (name, fields))
    name, fields = data.open("folder", **FIELDS, storage="device")
    assert name == "folder" and fields == dict(list(FIELDS.items())[:4])
    for field in ("class_list", "exclude"):
        with pytest.raises(UserError, match=f"data.{field} is for streams"):
            data.open("folder", **FIELDS | {field: "list"}, storage="device")
    with pytest.raises(UserError, match="data.storage 'disk'.*device, stream"):
        data.open("folder", **FIELDS, storage="disk")


def test_a_stream_is_opened_with_its_fields(monkeypatch):
    monkeypatch.setattr(streamed, "load", lambda *places, **fields: (places, fields))
    lists = {"class_list": "~/classes", "exclude": "~/bad"}
    places, fields = data.open("folder", **FIELDS | lists, storage="stream")
    home = Path.home()
    assert places == ("folder", home / "here", home / "classes", home / "bad")
    assert fields == {name: value for name, value in FIELDS.items() if name not in {*lists, "path"}}
    with pytest.raises(UserError, match="data.image_size 8 with digits"):
        data.open("digits", **FIELDS | {"path": None}, storage="stream")


def test_sizes_are_those_of_splits_in_memory_and_of_streams():
    split = data.Split(np.zeros((5, 1, 1, 1)), np.zeros(5))
    assert data.size(split) == 5 and data.size(range(7)) == 7


def test_splits_have_their_published_sizes():
    assert data.COUNTS == {
        "cifar10": {"train": 50_000, "test": 10_000},
        "cifar100": {"train": 50_000, "test": 10_000},
        "fashion_mnist": {"train": 60_000, "test": 10_000},
        "imagenet2012": {"train": 1_281_167, "validation": 50_000},
        "mnist": {"train": 60_000, "test": 10_000},
        "svhn_cropped": {"train": 73_257, "test": 26_032, "extra": 531_131},
    }
