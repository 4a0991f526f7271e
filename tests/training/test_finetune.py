"""Runs that start from trained weights: what is frozen stays, what is stopped goes on."""

import json
import shutil

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from rich.console import Console

import cnn_jax
from cnn_jax.bench.kill_jobs import compare
from cnn_jax.training import build
from cnn_jax.training.train import train
from tests.conftest import DENSE, ROOT, TINY, each_program_once

QUICKSTART = str(ROOT / "experiments/quickstart.py")
SHORT = ["training.duration=2 epochs", "evaluation.every=2 epochs"]


def files(variables):
    """The bytes of each array, by its path."""
    flat = flatten_dict(variables, sep="/")
    return {path: np.asarray(array).tobytes() for path, array in flat.items()}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with the variables of a network of the digits, as another seed has made it."""
    file = tmp_path_factory.mktemp("weights") / "lenet.npz"
    made = build.build(cnn_jax.load_config(QUICKSTART, [*DENSE, "seed=7"])).initial_state()
    np.savez(file, **flatten_dict(jax.device_get(made.variables), sep="/"))
    return file


PROBE = "optimizer.freeze=('!classifier',)"


def from_weights(weights, *fields):
    """A config that starts from the file, but for the classifier."""
    start = [f"init.weights={weights}", "init.layers=('*', '!classifier')"]
    return cnn_jax.load_config(QUICKSTART, [*DENSE, *start, *fields])


@pytest.fixture(scope="module")
def two_phases(weights, tmp_path_factory):
    """Config and directory of a run that trains the classifier alone in its first epoch."""
    config = from_weights(weights, *SHORT, PROBE, "optimizer.freeze_until=1 epoch")
    workdir = tmp_path_factory.mktemp("runs") / "two_phases"
    with each_program_once():
        train(config, workdir, Console(quiet=True))
    return config, workdir


def check_phases(workdir, start, classifier):
    """Every byte but the classifier's is that of the start at step 20, and none at step 40."""
    run, start = cnn_jax.load_run(workdir), files(start)
    first, second = (files(run.variables(step)) for step in (20, 40))
    assert {path for path in start if first[path] != start[path]} == classifier
    assert all(second[path] != first[path] for path in start)


def test_frozen_layers_keep_every_byte_until_they_are_trained(two_phases, weights):
    with np.load(weights) as arrays:
        start = unflatten_dict(dict(arrays), sep="/")
    check_phases(two_phases[1], start, {"params/ip3/bias", "params/ip3/kernel"})


@pytest.mark.slow
def test_frozen_batch_norms_keep_their_statistics_until_they_are_trained(tiny_run, tmp_path):
    fields = [*TINY, *SHORT, f"init.weights={tiny_run}", PROBE, "optimizer.freeze_until=1 epoch"]
    train(cnn_jax.load_config(QUICKSTART, fields), tmp_path / "run", Console(quiet=True))
    start = cnn_jax.load_run(tiny_run).variables()
    check_phases(tmp_path / "run", start, {"params/fc/bias", "params/fc/kernel"})


def test_what_was_taken_is_said_on_disk(two_phases, weights):
    lines = json.loads((two_phases[1] / "init.json").read_text())
    assert lines[0] == f"from {weights}: 2 layers, ip1, ip2"
    assert lines[1] == "new, with initial values: ip3"


def test_a_run_that_was_stopped_between_its_phases_ends_with_the_same_bytes(two_phases, tmp_path):
    config, whole = two_phases
    stopped = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(stopped / "checkpoints" / "00000040")
    (stopped / "status.json").write_text('{"status": "running"}')
    train(config, stopped, Console(quiet=True))
    compare(whole, stopped)


def test_several_seeds_start_from_the_weights_and_train_as_each_does_alone(weights):
    config = from_weights(weights, PROBE)
    together = build.build(config, seeds=range(8))
    before = together.seeds.split(together.initial_state())[3]
    states, _ = together.run_steps(together.initial_state(), 0, 5)
    config = from_weights(weights, PROBE, "seed=3")
    alone = build.build(config)
    state, _ = alone.run_steps(alone.initial_state(), 0, 5)
    third, start = together.seeds.split(states)[3], files(before.params)
    for one in (third, state):
        changed = {path for path, array in files(one.params).items() if array != start[path]}
        assert changed == {"ip3/bias", "ip3/kernel"}
    kernels = [one.params["ip3"]["kernel"] for one in (third, state)]
    np.testing.assert_allclose(*kernels, rtol=1e-4, atol=1e-6)


def test_a_frozen_layer_has_no_optimizer_state(weights):
    template = build.build(from_weights(weights, PROBE)).seeds.template
    sizes = [leaf.shape for leaf in jax.tree.leaves(template.opt_state) if leaf.ndim]
    assert sorted(sizes) == sorted(leaf.shape for leaf in template.params["ip3"].values())
