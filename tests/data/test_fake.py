"""Fake images in memory take the place of any data set of small images."""

import numpy as np
import pytest

from cnn_jax.data import dataset, fake
from cnn_jax.data.stream import sources
from cnn_jax.errors import UserError


def test_they_are_noise_of_cifars_size_unless_another_is_given():
    dataset = fake.load("fake:40,3", None)
    assert dataset.image_shape == (32, 32, 3) and len(dataset.class_names) == 3
    assert {name: len(split.labels) for name, split in dataset.splits.items()} == {
        "train": 40,
        "test": 2,
    }
    assert len(np.unique(dataset.splits["train"].images)) == 256
    assert fake.load("fake:40,3", 8).image_shape == (8, 8, 3)


@pytest.mark.parametrize("name", ["fake:64", "fake:a,10", "fake:0,10", "fake:64,10,3"])
def test_what_is_not_two_numbers_is_told(name):
    with pytest.raises(UserError, match="write fake:EXAMPLES,CLASSES"):
        fake.load(name, None)


def test_statistics_of_a_stream_need_each_window_of_its_noise_once():
    many = sources.fake(examples=10_000, classes=3, size=6, random=True)
    few = many.distinct()
    assert len(few) == 4096 and few.encoded(5) == many.encoded(4096 + 5)


def test_a_twentieth_is_for_the_test_and_at_least_one():
    assert fake.sizes("fake:400,10") == ({"train": 400, "test": 20}, 10)
    assert fake.sizes("fake:399,10")[0]["test"] == 19 and fake.sizes("fake:1,1")[0]["test"] == 1


def test_classes_come_in_turn_and_are_numbered():
    made = fake.load("fake:7,3", 2)
    assert made.splits["train"].labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert made.class_names == ("class 0", "class 1", "class 2")


def test_noise_is_counted_in_all_splits_before_it_is_made(monkeypatch):
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", 21 * 2 * 2 * 3)
    fake.load("fake:20,3", 2)
    with pytest.raises(UserError, match="fake:21,3 is .*stream"):
        fake.load("fake:21,3", 2)


def test_examples_and_classes_are_numbered_by_int32():
    most = 2**31 - 1
    assert fake.sizes(f"fake:{most},{most}") == ({"train": most, "test": most // 20}, most)
    for name in (f"fake:{most + 1},1", f"fake:1,{most + 1}"):
        with pytest.raises(UserError, match="at most 2,147,483,647 of each"):
            fake.sizes(name)


def test_gray_is_a_shade_of_128_and_nothing_is_not_faked():
    assert sources.fake(1, 1, 2, False).encoded(0) == bytes([128]) * 12
    assert len(sources.noise(2, True)) == 12 + 4096 == len(sources.noise(2, False))
    assert len(sources.fake(1, 1, 1, True)) == 1
    for numbers in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(UserError, match="no data"):
            sources.fake(*numbers, True)
