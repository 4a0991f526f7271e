"""Several seeds as one program are what each seed is alone."""

import shutil

import flax.linen as nn
import jax
import numpy as np
import pytest
from rich.console import Console

import cnn_jax
from cnn_jax.errors import DIVERGED, UserError
from cnn_jax.models.layers import BatchNorm, Conv
from cnn_jax.training import build
from cnn_jax.training.run_writer import RunWriter
from cnn_jax.training.sharding import WAYS
from cnn_jax.training.train import train

SEEDS = (3, 4)
SLOW = pytest.mark.slow


@pytest.mark.parametrize("network", ["dense_config", pytest.param("tiny_config", marks=SLOW)])
@pytest.mark.parametrize("way", WAYS[1:])
def test_each_of_several_seeds_trains_as_it_does_alone(way, network, request):
    config = request.getfixturevalue(network).copy_and_resolve_references()
    alone = {}
    for seed in SEEDS:
        config.seed = seed
        built = build.build(config)
        alone[seed] = built.run_steps(built.initial_state(), 0, 5)
    config.parallel.seeds = way
    built = build.build(config, seeds=SEEDS)
    states, metrics = built.run_steps(built.initial_state(), 0, 5)
    for seed, state, values in zip(
        SEEDS, built.seeds.split(states), built.seeds.split(metrics), strict=True
    ):
        single, expected = alone[seed]
        np.testing.assert_allclose(values["loss"], expected["loss"], rtol=1e-4)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            state.params,
            single.params,
        )
        assert int(state.seed) == seed and int(state.step) == 5


class ConvAndNorm(nn.Module):
    """The two layers that are other operations for several networks at once."""

    @nn.compact
    def __call__(self, images, train=False):
        maps = Conv(3, (3, 3), strides=(2, 2), padding=1)(images)
        return BatchNorm(group_size=4)(maps, train)


def test_layers_of_several_seeds_at_once_have_the_gradients_of_each_alone():
    model, images = ConvAndNorm(), jax.random.normal(jax.random.key(0), (8, 5, 5, 2))

    def gradient(key):
        variables = model.init(key, images)

        def loss(params):
            maps, _ = model.apply(variables | {"params": params}, images, True, mutable=True)
            return (maps**3).sum()

        return jax.grad(loss)(variables["params"])

    keys = jax.random.split(jax.random.key(1), 2)
    together = jax.jit(jax.vmap(gradient))(keys)
    alone = [jax.jit(gradient)(key) for key in keys]
    jax.tree.map(
        lambda both, *each: np.testing.assert_allclose(both, each, rtol=1e-4, atol=1e-5),
        together,
        *alone,
    )


def test_states_that_were_split_are_joined_again(dense_config):
    built = build.build(dense_config, seeds=SEEDS)
    states = built.initial_state()
    joined = built.seeds.join(built.seeds.split(states))
    np.testing.assert_array_equal(joined.params["ip3"]["kernel"], states.params["ip3"]["kernel"])


def test_sharded_parameters_of_several_seeds_are_refused(tiny_config):
    config = tiny_config.copy_and_resolve_references()
    config.parallel.params = "sharded"
    with pytest.raises(UserError, match="parallel.params 'sharded' is for one seed"):
        build.build(config, seeds=SEEDS)


def drop_times(history):
    return history.drop(columns=["seconds", "images_per_second", "epoch"])


@pytest.fixture(scope="module")
def together(dense_config, tmp_path_factory):
    """The directory of two seeds that were trained together."""
    workdir = tmp_path_factory.mktemp("seeds") / "run"
    train(dense_config, workdir, Console(quiet=True), seeds=2)
    return workdir


def test_each_seed_has_a_run_of_its_own_that_equals_the_single_one(
    together, dense_config, tmp_path
):
    train(dense_config, tmp_path / "run", Console(quiet=True))
    single, run = cnn_jax.load_run(tmp_path / "run"), cnn_jax.load_run(together / "seed-0")
    assert run.config.to_dict() == single.config.to_dict() and run.status == "done"
    assert run.steps == single.steps
    expected, found = single.history, run.history
    assert (expected["step"] == found["step"]).all() and (expected["split"] == found["split"]).all()
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-3)
    kernels = [r.variables()["params"]["ip3"]["kernel"] for r in (run, single)]
    np.testing.assert_allclose(*kernels, rtol=1e-2, atol=1e-3)
    assert cnn_jax.load_run(together / "seed-1").config.seed == 1


def test_seeds_whose_checkpoints_differ_go_on_from_the_last_common_one(
    together, dense_config, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(together, workdir)
    for seed in ("seed-0", "seed-1"):
        (workdir / seed / "status.json").unlink()
    shutil.rmtree(workdir / "seed-1" / "checkpoints" / "00000060")
    train(dense_config, workdir, Console(quiet=True), seeds=2)
    for seed in ("seed-0", "seed-1"):
        before, after = (cnn_jax.load_run(path / seed) for path in (together, workdir))
        assert after.steps == before.steps
        assert drop_times(after.history).equals(drop_times(before.history))
        kernels = [run.variables()["params"]["ip3"]["kernel"] for run in (before, after)]
        np.testing.assert_array_equal(*kernels)


def test_a_seed_that_diverges_does_not_hold_up_the_others(dense_config, tmp_path, monkeypatch):
    training = RunWriter.log_steps

    def diverging(self, first_step, fetch, waited):
        is_bad = self.label.startswith("seed-1") and first_step >= 20
        nan = {"loss": np.full(1, np.nan)} if is_bad else {}
        training(self, first_step, lambda: fetch() | nan, waited)

    monkeypatch.setattr(RunWriter, "log_steps", diverging)
    with pytest.raises(UserError, match="seed-1 diverged; the others are done") as caught:
        train(dense_config, tmp_path / "run", Console(quiet=True), seeds=2)
    assert caught.value.exit_code == DIVERGED
    status = [cnn_jax.load_run(tmp_path / "run" / f"seed-{i}").status for i in (0, 1)]
    assert status == ["done", "diverged"]


def test_several_seeds_in_the_directory_of_a_single_run_are_refused(dense_config, dense_run):
    with pytest.raises(UserError, match="is a single run; choose another --workdir"):
        train(dense_config, dense_run, Console(quiet=True), seeds=2)
