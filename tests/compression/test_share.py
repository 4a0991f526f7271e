"""Shared values are few and near, keep the zeros, and are trained as one."""

import numpy as np
import pytest

from cnn_jax.compression import share
from cnn_jax.errors import UserError


@pytest.mark.parametrize("initialization", share.INITIALIZATIONS)
@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_shared_values_are_few_near_and_keep_the_zeros(initialization, bits):
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((30, 40)) * (generator.random((30, 40)) < 0.4)
    shared = share.share(weights, bits, initialization)
    values = shared.values()
    assert len(np.unique(values)) <= 2**bits
    np.testing.assert_array_equal(values == 0, weights == 0)
    spread = np.square(weights[weights != 0]).mean()
    assert np.square(values - weights).sum() / (weights != 0).sum() < spread / 2 ** (1.5 * bits - 2)
    again = share.share(weights, bits, initialization)
    np.testing.assert_array_equal(again.values(), values)


def test_the_centroids_are_the_means_of_their_weights():
    weights = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    values = share.share(weights, 4).values()
    for value in np.unique(values):
        assert weights[values == value].mean() == pytest.approx(value, abs=1e-5)


def test_share_takes_empty_layers_and_one_weight_and_refuses_the_rest():
    np.testing.assert_array_equal(share.share(np.zeros((3, 3)), 4).values(), np.zeros((3, 3)))
    np.testing.assert_array_equal(share.share(np.float32([2.5]), 4).values(), np.float32([2.5]))
    with pytest.raises(UserError, match="did you mean 'linear'"):
        share.share(np.ones(3), 4, "linar")
    with pytest.raises(UserError, match="1 to 16 bits, not 0"):
        share.share(np.ones(3), 0)


def test_weights_that_share_a_value_take_the_sum_of_their_gradients_and_pruned_ones_none():
    kernel = np.float32([[0, 1, 2], [2, 2, 1]])
    tied = share.tied(bits=2)
    params = {"fc": {"kernel": kernel, "bias": np.zeros(3)}}
    state = tied.init(params)
    codes = {"fc": {"kernel": share.codes(kernel), "bias": np.int32(0)}}
    gradient = {"fc": {"kernel": np.float32([[1, 2, 3], [4, 5, 6]]), "bias": np.ones(3)}}
    updates, _ = tied.update(gradient, state.replace(codes=codes), params)
    np.testing.assert_array_equal(updates["fc"]["kernel"], [[0, 8, 12], [12, 12, 8]])
    np.testing.assert_array_equal(updates["fc"]["bias"], np.ones(3))
