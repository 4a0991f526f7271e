"""When rounds of pruning begin, how wide codes are, and what a stage of compression refuses."""

import types

import numpy as np
import optax
import pytest

from cnn_jax.cluster.join import Alone
from cnn_jax.errors import UserError
from cnn_jax.training import compress
from cnn_jax.training.steps import TrainState

PARAMS = {"conv1": {"kernel": np.float32([[1, 2], [3, 4]]), "bias": np.float32([5, 6])}}
PARAMS["fc"] = {"kernel": np.float32([[0, 1], [0, 7]]), "bias": np.float32([0, 0])}


def stage(name, **options):
    others = {"optimizer": optax.identity(), "steps_per_epoch": 10, "group": Alone()}
    return compress.create(**{"stage": name, "start": "runs/lenet"} | others | options)


def pruning(**options):
    return stage(
        "prune", **{"rule": "density", "amount": 0.5, "rounds": 3, "until": "1 epoch"} | options
    )


@pytest.mark.parametrize(
    "rounds,until,starts",
    [
        (2, "10 steps", [0, 10]),
        (3, "10 steps", [0, 5, 10]),
        (3, "2 epochs", [0, 10, 20]),
        (4, "3 steps", [0, 1, 2, 3]),
        (4, "10 steps", [0, 3, 7, 10]),
        (1, "0 epochs", [0]),
        (1, "7 steps", [0]),
    ],
)
def test_rounds_begin_evenly_until_the_last_one(rounds, until, starts, monkeypatch):
    found = []
    monkeypatch.setattr(
        compress.pruning, "gradually", lambda *what: found.append(what) or optax.identity()
    )
    pruning(rounds=rounds, until=until)
    assert found == [("density", 0.5, starts)]


@pytest.mark.parametrize(
    "change,told",
    [
        ({"rounds": 0}, "compression.rounds 0 is less than 1"),
        ({"rounds": 5, "until": "3 steps"}, "'3 steps' is too early for 5 rounds"),
        ({"stage": "quantize"}, "compression.stage 'quantize'.*prune, share"),
        ({"start": None}, "--config.compression.start=RUN_OR_FILE"),
    ],
)
def test_what_a_stage_cannot_do_is_told(change, told):
    with pytest.raises(UserError, match=told):
        pruning(**change)


@pytest.mark.parametrize("bits,widest", [(3, 3), ({"conv1": 2, "fc": 5}, 5)])
def test_codes_are_as_wide_as_the_widest_layer_and_come_before_the_rule(bits, widest, monkeypatch):
    found = []
    monkeypatch.setattr(
        compress.sharing, "tied", lambda bits: found.append(bits) or optax.identity()
    )
    monkeypatch.setattr(compress.optax, "chain", lambda *rules: rules)
    rules = stage("share", bits=bits, initialization="linear").optimizer
    assert found == [widest] and len(rules) == 2


def loaded(bits, monkeypatch, params=PARAMS):
    run = types.SimpleNamespace(variables=lambda: {"params": params, "batch_stats": {}})
    monkeypatch.setattr(compress, "load_run", lambda path: run)
    monkeypatch.setattr(compress, "like", lambda old, new, group: new)
    monkeypatch.setattr(
        compress,
        "with_weights",
        lambda state, weights, group: state.replace(params=weights["params"]),
    )
    made = stage("share", bits=bits, initialization="linear")
    state = TrainState(0, 0, PARAMS, {}, made.optimizer.init(PARAMS), {})
    return made.load_start(state)


def test_each_kernel_has_at_most_as_many_values_as_its_bits_allow(monkeypatch):
    state = loaded({"conv1": 1, "fc": 2}, monkeypatch)
    # One code is that of zero.
    np.testing.assert_array_equal(state.params["conv1"]["kernel"], np.full((2, 2), 2.5))
    fc = state.params["fc"]["kernel"]
    np.testing.assert_array_equal(fc, PARAMS["fc"]["kernel"])  # zeros, and two values
    np.testing.assert_array_equal(state.params["conv1"]["bias"], [5, 6])
    codes = state.opt_state[0].codes
    assert codes["conv1"]["bias"] == 0 and codes["fc"]["kernel"].shape == (2, 2)
    assert len(np.unique(codes["fc"]["kernel"])) == 3


@pytest.mark.parametrize(
    "bits,told",
    [
        ({"conv1": 3}, "compression.bits lacks the layer fc"),
        ({"conv1": 3, "fc": 3, "fc2": 3}, "layer in compression.bits 'fc2'"),
        ({"fc2": 3}, "layer in compression.bits 'fc2'"),
    ],
)
def test_bits_are_of_every_layer_and_of_no_other(bits, told, monkeypatch):
    with pytest.raises(UserError, match=told):
        loaded(bits, monkeypatch)


def test_weights_of_other_shapes_are_of_another_network(monkeypatch):
    other = PARAMS | {"fc": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)}}
    with pytest.raises(UserError, match="runs/lenet has the weights of another network"):
        loaded(3, monkeypatch, other)


def test_the_density_is_that_of_all_kernels_together():
    assert float(compress.measure(PARAMS)["density"]) == pytest.approx(6 / 8)
