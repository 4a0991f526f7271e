"""Masks keep what they say, and training keeps the masks."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_jax.compression import prune
from cnn_jax.errors import UserError


@pytest.fixture
def params():
    generator = np.random.default_rng(0)
    return {
        "conv1": {"kernel": generator.standard_normal((3, 3, 4, 10)), "bias": np.ones(10)},
        "fc": {"kernel": 5 * generator.standard_normal((10, 20))},
    }


def test_a_density_is_kept_in_every_layer_by_the_largest_weights(params):
    kept = prune.apply(params, prune.by_density(params, 0.3))
    assert prune.density(kept) == {"conv1": 0.3, "fc": 0.3, "total": 0.3}
    kernel = params["fc"]["kernel"]
    mask = prune.by_density(params, 0.3)["fc"]["kernel"]
    assert np.abs(kernel[mask]).min() >= np.abs(kernel[~mask]).max()
    np.testing.assert_array_equal(kept["conv1"]["bias"], 1)


def test_layers_can_have_densities_of_their_own(params):
    kept = prune.apply(params, prune.by_density(params, {"fc": 0.1}))
    assert prune.density(kept)["fc"] == 0.1 and prune.density(kept)["conv1"] == 1
    with pytest.raises(UserError, match="did you mean 'conv1'"):
        prune.by_density(params, {"conv": 0.1})
    with pytest.raises(UserError, match="between 0 and 1"):
        prune.by_density(params, 30.0)


def test_an_overall_density_is_one_threshold_in_deviations(params):
    kept = prune.density(prune.apply(params, prune.by_overall_density(params, 0.25)))
    assert kept["total"] == pytest.approx(0.25, abs=1e-3)
    assert abs(kept["conv1"] - kept["fc"]) < 0.1


def test_the_quality_is_a_threshold_in_deviations(params):
    mask = prune.by_quality(params, 0.5)
    kernel = params["fc"]["kernel"]
    np.testing.assert_array_equal(mask["fc"]["kernel"], np.abs(kernel) >= 0.5 * kernel.std())
    assert mask["conv1"]["bias"].all()


def test_pruned_weights_go_to_zero_and_stay_there_in_training(params):
    mask = prune.by_density(params, 0.3)
    optimizer = optax.chain(optax.sgd(0.1, momentum=0.9), prune.masked(mask))
    trained, state = params, optimizer.init(params)
    for _ in range(3):
        gradients = {k: {n: jnp.ones(np.shape(x)) for n, x in v.items()} for k, v in params.items()}
        updates, state = optimizer.update(gradients, state, trained)
        trained = optax.apply_updates(trained, updates)
        kernel, kept = np.asarray(trained["fc"]["kernel"]), mask["fc"]["kernel"]
        np.testing.assert_array_equal(kernel != 0, kept)
    assert (kernel[kept] < params["fc"]["kernel"][kept]).all()


def test_a_scan_prunes_one_layer_at_a_time(params):
    found = prune.sensitivity_scan(
        lambda p: [round(share, 3) for share in prune.density(p).values()], params, [0.5, 0.1]
    )
    assert [row[:2] for row in found["conv1"]] == [[0.5, 1], [0.1, 1]]
    assert [row[:2] for row in found["fc"]] == [[1, 0.5], [1, 0.1]]
