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


def pruned(params, rule, amount):
    return prune.apply(params, prune.masks(params, rule, amount))


def test_a_density_is_kept_in_every_layer_by_the_largest_weights(params):
    kept = pruned(params, "density", 0.3)
    assert prune.density(kept) == pytest.approx({"conv1": 0.3, "fc": 0.3, "total": 0.3})
    kernel = params["fc"]["kernel"]
    mask = np.asarray(prune.masks(params, "density", 0.3)["fc"]["kernel"])
    assert np.abs(kernel[mask]).min() >= np.abs(kernel[~mask]).max()
    np.testing.assert_array_equal(kept["conv1"]["bias"], 1)


def test_layers_can_have_densities_of_their_own(params):
    kept = prune.density(pruned(params, "density", {"fc": 0.1}))
    assert kept["fc"] == 0.1 and kept["conv1"] == 1


def test_a_density_of_0_keeps_nothing_and_of_1_everything(params):
    assert prune.density(pruned(params, "density", 0.0))["total"] == 0
    assert prune.density(pruned(params, "density", 1.0))["total"] == 1


def test_an_overall_density_is_one_threshold_in_deviations(params):
    kept = prune.density(pruned(params, "overall_density", 0.25))
    assert kept["total"] == pytest.approx(0.25, abs=1e-3)
    assert abs(kept["conv1"] - kept["fc"]) < 0.1


def test_the_quality_is_a_threshold_in_deviations(params):
    mask = prune.masks(params, "quality", 0.5)
    kernel = params["fc"]["kernel"]
    np.testing.assert_array_equal(mask["fc"]["kernel"], np.abs(kernel) >= 0.5 * kernel.std())
    assert mask["conv1"]["bias"].all()


@pytest.mark.parametrize(
    "rule, amount, told",
    [
        ("density", {"conv": 0.1}, "did you mean 'conv1'"),
        ("density", 30.0, "at most 1"),
        ("quality", -1.0, "at least 0"),
        ("overall_density", {"fc": 0.1}, "one number"),
        ("densty", 0.1, "did you mean 'density'"),
    ],
)
def test_amounts_that_cannot_be_are_told(params, rule, amount, told):
    with pytest.raises(UserError, match=told):
        prune.masks(params, rule, amount)


def test_rounds_reach_the_density_and_pruned_weights_stay_0(params):
    optimizer = optax.chain(
        optax.sgd(0.1, momentum=0.9), prune.gradually("density", 0.25, starts=[0, 2])
    )
    trained, state = params, optimizer.init(params)
    densities = []
    for _ in range(5):
        before = np.asarray(trained["fc"]["kernel"])
        gradients = {k: {n: jnp.ones(np.shape(x)) for n, x in v.items()} for k, v in params.items()}
        updates, state = optimizer.update(gradients, state, trained)
        trained = optax.apply_updates(trained, updates)
        kernel = np.asarray(trained["fc"]["kernel"])
        densities.append(float(prune.total_density(trained)))
        assert (kernel[(before == 0)] == 0).all() and (
            kernel[kernel != 0] < before[kernel != 0]
        ).all()
    assert densities == pytest.approx([0.5, 0.5, 0.25, 0.25, 0.25], abs=0.01)


def test_a_scan_prunes_one_layer_at_a_time(params):
    found = prune.sensitivity_scan(
        lambda p: [round(share, 3) for share in prune.density(p).values()], params, [0.5, 0.1]
    )
    assert [row[:2] for row in found["conv1"]] == [[0.5, 1], [0.1, 1]]
    assert [row[:2] for row in found["fc"]] == [[1, 0.5], [1, 0.1]]
