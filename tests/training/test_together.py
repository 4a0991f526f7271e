"""Several seeds as one program are what each seed is alone."""

import numpy as np
import pytest

from cnn_jax.errors import UserError
from cnn_jax.training import program
from cnn_jax.training.together import WAYS

SEEDS = (3, 4)


@pytest.fixture(scope="module")
def alone(tiny_config):
    """Metrics and parameters of single runs, by seed."""
    results = {}
    for seed in SEEDS:
        config = tiny_config.copy_and_resolve_references()
        config.seed = seed
        built = program.build(config)
        results[seed] = built.run_steps(built.create_state(), 0, 5)
    return results


@pytest.mark.parametrize("way", WAYS[1:])
def test_each_of_several_seeds_trains_as_it_does_alone(way, alone, tiny_config):
    config = tiny_config.copy_and_resolve_references()
    config.parallel.seeds = way
    built = program.build(config, seeds=SEEDS)
    states, metrics = built.run_steps(built.create_state(), 0, 5)
    for seed, state, values in zip(SEEDS, built.split(states), built.split(metrics), strict=True):
        single, expected = alone[seed]
        np.testing.assert_allclose(values["loss"], expected["loss"], rtol=1e-4)
        for name in ("conv1", "fc"):
            kernels = [s.params[name]["kernel"] for s in (state, single)]
            np.testing.assert_allclose(*kernels, rtol=1e-3, atol=1e-4)
        assert int(state.seed) == seed and int(state.step) == 5


def test_states_that_were_split_are_joined_again(tiny_config):
    built = program.build(tiny_config, seeds=SEEDS)
    states = built.create_state()
    joined = built.join(built.split(states))
    np.testing.assert_array_equal(joined.params["fc"]["kernel"], states.params["fc"]["kernel"])


def test_sharded_parameters_of_several_seeds_are_refused(tiny_config):
    config = tiny_config.copy_and_resolve_references()
    config.parallel.params = "sharded"
    with pytest.raises(UserError, match="parallel.params 'sharded' is for one seed"):
        program.build(config, seeds=SEEDS)
