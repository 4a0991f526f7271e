"""The programs of one seed and of several, with nothing compiled but sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from cnn_jax.training import seeds, sharding
from cnn_jax.training.sharding import Parallel

ALONE, SPLIT, WHOLE = PartitionSpec(None, "data"), PartitionSpec("data"), PartitionSpec()


def init_state(seed):
    return {"seed": jnp.asarray(seed, jnp.uint32), "weights": jnp.zeros((4, 6))}


def train_steps(state, data, examples):
    return state + data.sum() + examples.sum(), {"loss": state - examples.sum((1, 2))}


class Jit(list):
    """What was compiled how, of which nothing is."""

    def __call__(self, function, mesh, **how):
        self.append({name: getattr(value, "spec", value) for name, value in how.items()})
        return function


def made(numbers, devices, params="replicated", way="map", real=False):
    mesh = sharding.data_mesh(jax.devices()[:1]) if real else AbstractMesh((devices,), ("data",))
    one = sharding.one_seed if isinstance(numbers, int) else seeds.several_seeds
    numbers, jit = (numbers,) if isinstance(numbers, int) else numbers, Jit()
    return one(numbers, init_state, train_steps, mesh, Parallel(params, way), jit), jit


@pytest.fixture(autouse=True)
def on_cpus(monkeypatch):
    monkeypatch.setattr(seeds.compiler, "platform_of", lambda mesh: "cpu")


def test_the_batch_of_one_seed_is_split_and_its_state_is_as_it_is():
    found, jit = made(7, 2, "sharded")
    assert found.numbers == (7,) and found.train_steps is train_steps
    assert found.by_example.spec == ALONE
    assert int(found.init()["seed"]) == 7
    assert found.stack_examples(["examples"]) == "examples"
    assert found.split("state") == ["state"] and found.join(["state"]) == "state"
    placed = {name: (leaf.shape, leaf.sharding.spec) for name, leaf in found.template.items()}
    assert placed == {"seed": ((), WHOLE), "weights": ((4, 6), PartitionSpec(None, "data"))}
    init, steps = jit
    assert init["once"] and steps["donate_argnums"] == 0
    state = {name: leaf.sharding for name, leaf in found.template.items()}
    assert init["out_shardings"] == steps["out_shardings"][0] == state
    assert steps["out_shardings"][1].spec == WHOLE


@pytest.mark.parametrize(
    "numbers,devices,is_spread",
    [((3, 4), 2, True), ((3, 4, 5, 6), 2, True), ((3, 4, 5), 2, False), ((3, 4), 1, False)],
)
def test_seeds_are_spread_over_devices_where_they_divide_and_else_share_batches(
    numbers, devices, is_spread
):
    found, jit = made(numbers, devices)
    assert found.numbers == numbers
    placed = {(leaf.shape, str(leaf.dtype), leaf.sharding.spec) for leaf in found.template.values()}
    assert placed == {((), "uint32", WHOLE), ((4, 6), "float32", WHOLE)}
    assert found.by_example.spec == (SPLIT if is_spread else PartitionSpec(None, None, "data"))
    by_seed = SPLIT if is_spread else WHOLE
    assert jit == [
        {"once": True, "out_shardings": by_seed},
        {"donate_argnums": 0, "out_shardings": by_seed},
    ]
    initial = found.init()
    assert initial["seed"].tolist() == list(numbers)
    assert initial["weights"].shape == (len(numbers), 4, 6)


def test_states_are_split_and_joined_and_examples_stacked_by_seed():
    found, _ = made((3, 4), 1, real=True)
    joined = found.join([{"a": jnp.full(2, 3.0)}, {"a": jnp.full(2, 4.0)}])
    assert joined["a"].tolist() == [[3, 3], [4, 4]]
    assert joined["a"].sharding.spec == WHOLE
    assert [own["a"].tolist() for own in found.split(joined)] == [[3, 3], [4, 4]]
    stacked = found.stack_examples([{"index": np.zeros(2)}, {"index": np.ones(2)}])
    assert stacked["index"].tolist() == [[0, 0], [1, 1]]


def test_what_a_device_trains_is_not_checked_for_how_it_varies_over_devices(monkeypatch):
    asked = []
    monkeypatch.setattr(jax, "shard_map", lambda function, **how: asked.append(how))
    made((3, 4), 2)
    (how,) = asked
    assert how["in_specs"] == (SPLIT, WHOLE, SPLIT) and how["out_specs"] == SPLIT
    assert how["check_vma"] is False and how["mesh"].size == 2
