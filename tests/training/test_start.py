"""What a training that starts from weights, or freezes layers, is given; all calls are noted."""

import types
from dataclasses import replace

import pytest
from ml_collections import ConfigDict

from cnn_jax.errors import UserError
from cnn_jax.runs import pretrained, transfer
from cnn_jax.training import build, compress, init, start
from cnn_jax.training.plan import Plan

PLAN = Plan(64, 8, 1, 8, 16, 8, 2, 8, (), 8)
FIELDS = build.Parts.__dataclass_fields__
OTHERS = ("phases", "load_start", "start_notes", "measure")
PARTS = build.Parts(**{name: name for name in FIELDS if name not in OTHERS})


def parts(weights=None, layers=("*",), freeze=(), until=None, **groups):
    config = ConfigDict(
        {
            "init": {"weights": weights, "layers": list(layers)},
            "optimizer": {"freeze": list(freeze), "freeze_until": until},
            "model": "config.model",
            **groups,
        }
    )
    return replace(PARTS, config=config, plan=PLAN)


@pytest.fixture
def calls(monkeypatch):
    """What groups are made of, and with what."""
    found = []

    def call(function, name, fields, **others):
        found.append((function, name, fields.to_dict(), others))
        made = {"load": "load", "notes": "notes"}
        if name == "compression":
            return compress.CompressionStage("own optimizer", "own load", "own measure")
        return types.SimpleNamespace(**made)

    def phases(model, optimizer, frozen, unfreeze):
        found.append((model, optimizer, frozen, unfreeze))
        return ["two", "phases"]

    monkeypatch.setattr(start.configs, "call", call)
    monkeypatch.setattr(start.by_layer, "phases", phases)
    return found


def network():
    return types.SimpleNamespace(chosen=lambda patterns, field: f"{field} {list(patterns)}")


def test_a_compression_brings_its_optimizer_its_start_and_a_metric(calls):
    own = parts(compression={"stage": "prune"})
    found = start.started(own, network, "group")
    assert (found.optimizer, found.load_start, found.measure) == (
        "own optimizer", "own load", "own measure",
    )  # fmt: skip
    others = {"group": "group", "optimizer": "optimizer", "steps_per_epoch": 8}
    assert calls == [(compress.create, "compression", {"stage": "prune"}, others)]


@pytest.mark.parametrize("fields", [{"weights": "RUN"}, {"freeze": ["a"]}])
def test_a_compression_starts_from_its_own_network_and_freezes_nothing(fields, calls):
    with pytest.raises(UserError, match="leave init.weights and optimizer.freeze out"):
        start.started(parts(compression={}, **fields), network, "group")


@pytest.mark.parametrize("until,step", [(None, 0), ("1 step", 1), ("2 epochs", 16)])
def test_layers_are_frozen_until_a_step_or_for_ever(until, step, calls):
    found = start.started(parts(freeze=["conv*"], until=until), network, "group")
    assert calls == [("model", "optimizer", "optimizer.freeze ['conv*']", step)]
    assert found.phases == ["two", "phases"] and found.plan.unfreeze == step
    assert found.load_start is None


def test_layers_are_not_frozen_for_no_step():
    with pytest.raises(UserError, match="optimizer.freeze_until is '0 steps'"):
        start.started(parts(freeze=["conv*"], until="0 steps"), network, "group")
    assert start.started(parts(until="3 steps"), network, "group").plan.unfreeze == 3
    assert start.started(parts(), network, "group").phases == ()


@pytest.mark.parametrize("fields", [{"weights": "RUN"}, {"layers": ["a"]}])
def test_weights_or_some_of_the_layers_are_a_start(fields, calls):
    own = parts(**fields)
    found = start.started(own, network, "group")
    assert (found.load_start, found.start_notes) == ("load", "notes")
    others = {"model": "config.model", "preprocessing": "preprocessing", "network": network}
    assert calls == [(init.create, "init", own.config.init.to_dict(), {"group": "group", **others})]


def test_weights_are_read_once_and_where_they_are_asked_for(monkeypatch):
    read = []

    def weights(name):
        read.append(name)
        return "variables", "run"

    found = types.SimpleNamespace(lines=lambda name: [f"lines of {name}"], variables="taken")
    monkeypatch.setattr(pretrained, "weights", weights)
    monkeypatch.setattr(transfer, "transfer", lambda *given: read.append(given) or found)
    monkeypatch.setattr(pretrained, "deviations", lambda *given: [given])
    monkeypatch.setattr(transfer, "with_weights", lambda *given: given)
    made = init.create(
        weights="RUN", layers=["a"], model="model", preprocessing="preprocessing",
        network=lambda: "layers", group="group",
    )  # fmt: skip
    assert read == []
    assert made.load("state") == ("state", "taken", "group")
    assert made.notes() == ["lines of RUN", ("run", "model", "preprocessing")]
    assert read == ["RUN", ("variables", ["a"], "layers", "RUN")]


def test_weights_that_do_not_fit_are_told_with_the_network_they_are_of(monkeypatch):
    def transfer_of(*_):
        raise UserError("it does not fit")

    monkeypatch.setattr(pretrained, "weights", lambda name: ("variables", "run"))
    monkeypatch.setattr(transfer, "transfer", transfer_of)
    monkeypatch.setattr(pretrained, "which_network", lambda *given: f": {given}")
    made = init.create(
        weights="RUN", layers=["a"], model="model", preprocessing="preprocessing",
        network=lambda: "layers", group="group",
    )  # fmt: skip
    with pytest.raises(UserError, match=r"^it does not fit: \('run', 'model'\)$"):
        made.load("state")
    with pytest.raises(UserError, match="which trained network"):
        init.create(weights=None, layers=[], model=0, preprocessing=0, network=0, group=0)
