"""The order of the data is a function of (seed, epoch); what is no data set is refused."""

import numpy as np
import pytest

from cnn_jax import data
from cnn_jax.data.dataset import Dataset, Split, batch_indices, evaluation_batches, to_rows
from cnn_jax.data.stream.sources import FakeSource
from cnn_jax.data.stream.streamed import StreamedDataset
from cnn_jax.errors import UserError


def test_every_epoch_has_each_example_once_in_another_order():
    epochs = batch_indices(0, 0, 20, 10, 100).reshape(2, 100)
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    assert (epochs[0] != epochs[1]).mean() > 0.9


def test_a_batch_depends_on_the_step_and_not_on_where_one_starts():
    assert (batch_indices(1, 0, 30, 8, 50)[17:23] == batch_indices(1, 17, 6, 8, 50)).all()


def test_another_seed_gives_another_order():
    assert (batch_indices(0, 0, 5, 10, 50) != batch_indices(1, 0, 5, 10, 50)).mean() > 0.9


def test_evaluation_has_every_example_once_and_weightless_padding():
    indices, weights = evaluation_batches(23, 10)
    assert sorted(indices[weights > 0]) == list(range(23))
    assert indices.shape == weights.shape == (3, 10) and np.all(indices < 23)


def test_images_in_a_device_s_memory_are_rows_of_a_multiple_of_128_bytes():
    images = np.arange(2 * 28 * 28, dtype=np.uint16).astype(np.uint8).reshape(2, 28, 28, 1)
    rows = to_rows(images)
    assert rows.shape == (2, 896) and not rows[:, 784:].any()
    np.testing.assert_array_equal(rows[:, :784].reshape(images.shape), images)
    cifar = np.zeros((2, 32, 32, 3), np.uint8)
    assert np.shares_memory(to_rows(cifar), cifar)


# --- what is no data set ------------------------------------------------------------------------

LABELS = np.array([0, 1, 2, 0])
WRONG = {
    "there are 2 classes": {"class_names": ("a", "b")},
    "the class names are .*: each class has a name": {"class_names": ("a", "", "c")},
    "the class names are": {"class_names": ()},
    "two classes are called 'a'": {"class_names": ("a", "b", "a")},
    "no split 'train', only test": {"split": "test"},
    "train has 4 images and 3 labels": {"labels": LABELS[:3]},
    "train has 4 images and labels of the shape": {"labels": LABELS[:, None]},
    "train has label 3, but there are 3 classes": {"labels": LABELS + 1},
    "train has label -1": {"labels": LABELS - 1},
    "labels of train are float64": {"labels": LABELS * 1.0},
    # As int32 it would be label 0.
    "train has label 4294967296": {"labels": np.array([2**32, 1, 2, 0])},
}


def refused(message, function, *arguments):
    with pytest.raises(UserError, match=message) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)


def in_memory(labels=LABELS, class_names=("a", "b", "c"), split="train", images=None):
    images = np.zeros((4, 5, 6, 3), np.uint8) if images is None else images
    return Dataset(class_names, {split: Split(images, labels)})


def streamed(labels=LABELS, class_names=("a", "b", "c"), split="train"):
    class Source(FakeSource):
        def __len__(self):
            return 4

    fields = dict.fromkeys(["image_size", "on_error", "decoder", "threads", "workers", "prefetch"])
    return StreamedDataset(class_names, {split: Source(8, labels, class_names, True)}, **fields)


@pytest.mark.parametrize("message", WRONG)
@pytest.mark.parametrize("make", [in_memory, streamed])
def test_what_is_no_data_set_is_refused_in_memory_and_as_a_stream(make, message):
    make()
    refused(message, lambda: make(**WRONG[message]))


@pytest.mark.parametrize(
    "images",
    [np.zeros((4, 5, 6, 3)), np.zeros((4, 5, 6), np.uint8), np.zeros((4, 5, 0, 3), np.uint8)],
)
def test_images_that_are_not_uint8_of_four_axes_are_refused(images):
    refused("the images of train are .*not uint8", lambda: in_memory(images=images))


def test_images_of_another_shape_than_those_of_train_are_refused():
    splits = {name: Split(np.zeros((4, side, 6, 3), np.uint8), LABELS)
              for name, side in [("train", 5), ("test", 6)]}  # fmt: skip
    refused("the images of test are", Dataset, ("a", "b", "c"), splits)


def test_a_split_without_images_is_refused():
    splits = in_memory().splits | {"test": Split(np.zeros((0, 5, 6, 3), np.uint8), LABELS[:0])}
    refused("test has no images", Dataset, ("a", "b", "c"), splits)


def test_labels_of_any_integers_become_int32():
    for dtype in (np.uint8, np.int64, np.uint64):
        labels = in_memory(LABELS.astype(dtype)).splits["train"].labels
        assert labels.dtype == np.int32 and (labels == LABELS).all()


def test_a_reader_s_data_set_that_is_none_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(data.SOURCES, "mine", lambda path, size: in_memory(LABELS + 1))
    with pytest.raises(UserError, match=f"mine at {tmp_path}: train has label 3"):
        data.load("mine", path=str(tmp_path), image_size=None, validation_size=0, split_seed=0)
