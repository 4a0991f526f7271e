"""The order of the data is a function of (seed, epoch)."""

import numpy as np

from cnn_jax.data.dataset import batch_indices, evaluation_batches, to_rows


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
