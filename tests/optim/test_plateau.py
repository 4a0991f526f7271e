"""The rate drops when the validation error stops improving, also across a restart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import cnn_jax
from cnn_jax import config as configs
from cnn_jax.errors import UserError
from cnn_jax.optim import optimizers, plateau, schedules
from cnn_jax.runs import checkpoints
from cnn_jax.training.build import build
from cnn_jax.training.train import train
from tests.training.test_train import assert_same_end

QUIET = Console(quiet=True)
PLATEAU = {
    "schedule": "plateau",
    "rate": 0.1,
    "factor": 0.1,
    "patience": 2,
    "threshold": 0.01,
    "min_rate": 0.0,
    "warmup": "0 steps",
    "warmup_shape": "constant",
    "warmup_rate": 0.01,
}


def create(**changes):
    """A momentum optimizer with a plateau."""
    rate = schedules.create(**PLATEAU | changes, duration="100 steps", steps_per_epoch=10)
    return optimizers.create(
        name="momentum",
        momentum=0.9,
        nesterov=False,
        rate_inside=True,
        weight_decay=0.0,
        decay="all",
        clip_norm=None,
        clips_decay=False,
        bias_rate=1.0,
        freeze=(),
        freeze_until=None,
        rate_by_layer=(),
        layer_decay=1.0,
        learning_rate=rate,
        layers=None,
    )


def scales(errors, **changes):
    """The scale after each of the errors."""
    state = create(**changes).init({"kernel": jnp.zeros(2)})
    found = []
    for error in errors:
        state = plateau.observe(state, error)
        found.append(float(plateau.scale(state)))
    return found


def test_the_rate_drops_after_as_many_evaluations_without_improvement_as_its_patience():
    errors = [0.5, 0.4, 0.4, 0.3, 0.31, 0.32, 0.33, 0.2, 0.25, 0.25, 0.25, 0.25]
    golden = [1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001]
    assert scales(errors) == pytest.approx(golden, rel=1e-5)


def test_an_improvement_up_to_the_threshold_is_none():
    assert scales([0.5, 0.495, 0.492]) == pytest.approx([1, 1, 0.1])
    assert scales([0.5, 0.495, 0.485]) == pytest.approx([1, 1, 1])


def test_the_rate_never_falls_below_its_least():
    assert scales([0.5] * 5, patience=1, min_rate=0.005) == pytest.approx(
        [1, 0.1, 0.05, 0.05, 0.05]
    )


def test_a_drop_scales_the_updates_and_leaves_what_has_no_plateau_alone():
    params, gradients = {"kernel": jnp.zeros(2)}, {"kernel": jnp.ones(2)}
    optimizer = create(patience=1)
    state = optimizer.init(params)
    updates, _ = optimizer.update(gradients, state, params)
    np.testing.assert_allclose(updates["kernel"], -0.1, rtol=1e-6)
    dropped = plateau.observe(plateau.observe(state, 0.5), 0.5)
    updates, _ = optimizer.update(gradients, dropped, params)
    np.testing.assert_allclose(updates["kernel"], -0.01, rtol=1e-6)
    other = {"momentum": jnp.ones(3)}
    assert plateau.observe(other, 0.5)["momentum"] is other["momentum"]
    assert plateau.scale(other) == 1


def test_networks_trained_together_have_plateaus_of_their_own():
    state = jax.vmap(create(patience=1).init)({"kernel": jnp.zeros((2, 3))})
    for errors in ([0.5, 0.5], [0.5, 0.4]):
        state = plateau.observe(state, jnp.array(errors))
    np.testing.assert_allclose(plateau.scale(state), [0.1, 1.0], rtol=1e-6)


@pytest.fixture(scope="module")
def plateau_config(dense_config):
    """A recipe at a rate that falls at each evaluation after the first."""
    config = dense_config.copy_and_resolve_references().unlock()
    config.learning_rate = configs.ConfigDict(PLATEAU | {"patience": 1, "threshold": 1.0})
    config.training.update(duration="60 steps", checkpoint_every="10 steps")
    config.evaluation.every = "20 steps"
    return config.lock()


@pytest.fixture(scope="module")
def plateau_run(plateau_config, tmp_path_factory):
    """The directory of a run of it that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("runs") / "plateau"
    train(plateau_config, workdir, QUIET)
    return workdir


def test_the_metrics_tell_the_true_rate(plateau_run):
    history = cnn_jax.load_run(plateau_run).history
    rows = history[history.split == "train"]
    golden = np.where(rows.step <= 40, 0.1, 0.01)  # evaluations at steps 20, 40 and 60
    assert {0.1, 0.01} == set(golden)
    np.testing.assert_allclose(rows.learning_rate, golden, rtol=1e-5)


def opt_state(workdir):
    """The optimizer's state at the end, {path: array}."""
    tree = checkpoints.load_arrays(workdir / "checkpoints", 60, ("opt_state",))
    return {jax.tree_util.keystr(path): a for path, a in jax.tree.leaves_with_path(tree)}


def test_a_checkpoint_holds_what_the_evaluation_of_its_step_changed(plateau_run):
    found = opt_state(plateau_run)
    (scale,) = (a for path, a in found.items() if path.endswith("['scale']") and a.ndim == 0)
    assert scale == pytest.approx(0.01)  # two of three evaluations lowered it


@pytest.mark.parametrize("killed_at", [40, 50])
def test_a_run_that_goes_on_ends_like_the_uninterrupted_one(
    killed_at, plateau_config, plateau_run, tmp_path, monkeypatch
):
    workdir = tmp_path / "run"
    save = checkpoints.Checkpoints.save

    def save_and_die(self, step, *arguments):
        save(self, step, *arguments)
        if step == killed_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints.Checkpoints, "save", save_and_die)
        train(plateau_config, workdir, QUIET)
    assert cnn_jax.load_run(workdir).steps[-1] == killed_at
    train(plateau_config, workdir, QUIET)
    assert_same_end(workdir, plateau_run)
    jax.tree.map(np.testing.assert_array_equal, opt_state(workdir), opt_state(plateau_run))


def test_a_plateau_without_a_validation_split_is_refused(plateau_config):
    config = plateau_config.copy_and_resolve_references()
    config.evaluation.splits = ["test"]
    with pytest.raises(UserError, match="add 'validation' to evaluation.splits"):
        build(config)
