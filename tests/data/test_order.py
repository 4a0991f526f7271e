"""Orders, splits and rows of a data set are these, in every version and on every machine."""

import zlib

import numpy as np
import pytest

from cnn_jax import data
from cnn_jax.data import dataset
from cnn_jax.errors import UserError

LABELS = np.repeat(np.arange(2, dtype=np.int32), 6)


# Other numbers would give another end to a run that was stopped before an upgrade.
def test_the_order_of_an_epoch_is_a_function_of_the_seed_and_the_epoch():
    orders = {(0, 0): [3, 2, 5, 4, 0, 1], (0, 1): [1, 4, 3, 0, 2, 5], (3, 0): [2, 5, 4, 1, 3, 0]}
    found = {key: dataset.epoch_order(*key, 6) for key in orders}
    assert {key: order.tolist() for key, order in found.items()} == orders
    assert {order.dtype.name for order in found.values()} == {"int32"}


def test_batches_go_through_one_epoch_after_the_other_and_drop_its_rest():
    assert dataset.batch_indices(3, 1, 4, 2, 6).tolist() == [[4, 1], [3, 0], [1, 2], [0, 4]]
    two = dataset.batch_indices(0, 0, 2, 4, 6).tolist()
    assert two == [[3, 2, 5, 4], [1, 4, 3, 0]]  # 6 examples, of which 4 are in a whole batch


def test_an_evaluation_pads_its_last_batch_with_the_last_example_without_weight():
    indices, weights = dataset.evaluation_batches(5, 3)
    assert indices.tolist() == [[0, 1, 2], [3, 4, 4]] and indices.dtype == np.int32
    assert weights.tolist() == [[1, 1, 1], [1, 1, 0]] and weights.dtype == np.float32
    indices, weights = dataset.evaluation_batches(6, 3)
    assert indices.tolist() == [[0, 1, 2], [3, 4, 5]] and weights.min() == 1


def test_held_out_examples_are_a_function_of_the_seed():
    rest, held = dataset.stratified(LABELS, 4, 3)
    assert rest.tolist() == [1, 3, 4, 5, 7, 8, 10, 11] and held.tolist() == [0, 2, 6, 9]


@pytest.mark.parametrize("size,fits", [(1, False), (2, True), (10, True), (11, False)])
def test_each_part_of_a_split_has_an_example_of_each_class(size, fits):
    if fits:
        rest, held = dataset.stratified(LABELS, size, 0)
        assert len(held) == size and set(LABELS[held]) == set(LABELS[rest]) == {0, 1}
    else:
        with pytest.raises(UserError, match="between 2 and 10"):
            dataset.stratified(LABELS, size, 0)


def test_a_class_of_two_images_is_split_and_one_of_one_is_told():
    dataset.stratified(np.array([0, 0, 1, 1]), 2, 0)
    with pytest.raises(UserError, match="a class has one image only"):
        dataset.stratified(np.array([0, 0, 0, 1]), 2, 0)


def test_four_gibibytes_are_held_in_memory_and_not_a_byte_more():
    dataset.check_memory("these", 2**20, (64, 64, 1))
    with pytest.raises(UserError, match=r"these is 4.3 GB .*1,048,577 images.*, 64x32\)"):
        dataset.check_memory("these", 2**20 + 1, (32, 64, 2))


@pytest.mark.parametrize("pixels,row", [(1, 128), (127, 128), (128, 128), (129, 256), (3072, 3072)])
def test_rows_are_filled_up_with_zeros_at_their_end(pixels, row):
    images = np.full((2, pixels, 1, 1), 7, np.uint8)
    rows = dataset.to_rows(images)
    assert rows.shape == (2, row) and (rows[:, :pixels] == 7).all() and not rows[:, pixels:].any()


def test_facts_name_classes_shape_sizes_and_the_checksum_of_all_arrays():
    images = np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2, 1)
    splits = {"train": data.Split(images, LABELS), "test": data.Split(images[:4], LABELS[:4])}
    facts = data.Dataset(("a", "b"), splits).facts()
    content = b"".join(a.tobytes() for a in (images[:4], LABELS[:4], images, LABELS))
    assert facts == {
        "class_names": ["a", "b"],
        "image_shape": [2, 2, 1],
        "examples": {"train": 12, "test": 4},
        "checksum": zlib.crc32(content),
    }


def test_held_out_images_keep_their_labels_and_leave_the_others():
    images = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1)
    splits = {"train": data.Split(images, LABELS), "test": data.Split(images[:1], LABELS[:1])}
    splits = dataset.hold_out("these", data.Dataset(("a", "b"), splits), 4, 3).splits
    assert splits["test"].images.shape == (1, 1, 1, 1)
    assert splits["validation"].images.ravel().tolist() == [0, 2, 6, 9]
    assert splits["train"].images.ravel().tolist() == [1, 3, 4, 5, 7, 8, 10, 11]
    for split in (splits["train"], splits["validation"]):
        np.testing.assert_array_equal(split.labels, split.images.ravel() >= 6)
