"""Runs that prune or share go on from a trained one, through the same loop, and can be resumed."""

import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

import cnn_jax
import launch
from cnn_jax.analysis import sensitivity
from cnn_jax.compression import archive, prune
from cnn_jax.data.dataset import Split
from cnn_jax.training import train as loop
from tests.conftest import ROOT

LENET = str(ROOT / "experiments/deep_compression/lenet.py")
PRUNE = {"stage": "prune", "rule": "density", "amount": 0.25, "rounds": 2, "until": "4 steps"}
SHARE = {"stage": "share", "bits": 3, "initialization": "linear"}


@pytest.fixture(scope="module")
def settings(dense_run):
    """The config of the small run with a stage after it, as a file of recipes would have it."""

    def make(start, **stage):
        config = cnn_jax.load_run(dense_run).config.copy_and_resolve_references().unlock()
        config.compression = {"start": str(start), **stage}
        config.training.update(duration="8 steps", checkpoint_every="4 steps", steps_per_dispatch=4)
        return config.lock()

    return make


def train(config, workdir):
    loop.train(config, workdir, Console(quiet=True))
    return cnn_jax.load_run(workdir)


@pytest.fixture(scope="module")
def pruned(settings, dense_run, tmp_path_factory):
    """That run after pruning."""
    return train(settings(dense_run, **PRUNE), tmp_path_factory.mktemp("pruned") / "run")


def test_pruning_reaches_its_density_in_rounds_and_the_metrics_tell(pruned, dense_run):
    run = pruned
    rows = run.history.query("split == 'train'")
    assert rows.density.iloc[-1] == pytest.approx(0.25, abs=0.01)
    assert rows.density.max() < 0.52
    params = run.variables()["params"]
    assert prune.density(params)["total"] == pytest.approx(rows.density.iloc[-1])
    before = cnn_jax.load_run(dense_run).variables()["params"]
    kept = np.concatenate([p[q != 0] for p, q in kernels(before, params)])
    lost = np.concatenate([p[q == 0] for p, q in kernels(before, params)])
    assert np.abs(kept).mean() > 2 * np.abs(lost).mean()


def kernels(*trees):
    return [
        [np.asarray(leaf).reshape(-1) for leaf in leaves]
        for leaves in zip(*(list_of_kernels(tree) for tree in trees), strict=True)
    ]


def list_of_kernels(tree):
    return [leaf for path, leaf in prune.flatten(tree).items() if prune.is_kernel(path)]


def test_a_stopped_run_ends_as_the_undisturbed_one(pruned, settings, dense_run, tmp_path):
    shutil.copytree(pruned.path, tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / f"{pruned.steps[-1]:08d}")
    (tmp_path / "again" / "status.json").write_text('{"status": "preempted"}')
    resumed = train(settings(dense_run, **PRUNE), tmp_path / "again").variables()
    jax.tree.map(np.testing.assert_array_equal, resumed, pruned.variables())


def test_shared_values_stay_shared_and_the_lossless_file_is_small(pruned, settings, tmp_path):
    shared = train(settings(pruned.path, **SHARE), tmp_path / "shared")
    pairs = kernels(pruned.variables()["params"], shared.variables()["params"])
    for before, after in pairs:
        assert len(np.unique(after)) <= 8
        np.testing.assert_array_equal(after == 0, before == 0)
    assert any(not np.array_equal(b, a) for b, a in pairs)
    path = tmp_path / "small.cnn"
    assert launch.main(["compress", str(tmp_path / "shared"), f"--out={path}", "--lossless"]) == 0
    coded = [isinstance(a, archive.Codebook) for a in archive.read(path).arrays.values()]
    assert sum(coded) >= len(pairs) - 1
    jax.tree.map(
        np.testing.assert_array_equal,
        cnn_jax.load_run(path).variables(),
        shared.variables(),
    )


def test_several_seeds_start_from_the_same_weights(settings, dense_run, tmp_path):
    loop.train(settings(dense_run, **PRUNE), tmp_path / "seeds", Console(quiet=True), seeds=2)
    for seed in (0, 1):
        params = cnn_jax.load_run(tmp_path / "seeds" / f"seed-{seed}").variables()["params"]
        assert prune.density(params)["total"] == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"stage": "prun"}, "did you mean 'prune'"),
        ({"rounds": 0}, "rounds 0"),
        ({"until": "0 steps"}, "too early for 2 rounds"),
        ({"amount": {"conv7": 0.5}}, "unknown layer 'conv7'"),
        ({"start": "none"}, "none is not a run"),
        ({"bits": 3}, "bits"),
    ],
)
def test_mistakes_are_told(change, told, settings, dense_run, tmp_path):
    config = settings(**({"start": dense_run} | PRUNE | change))
    with pytest.raises(cnn_jax.errors.UserError, match=told) as caught:
        train(config, tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_told(settings, dense_run, tiny_config, tmp_path):
    config = settings(dense_run, **PRUNE).copy_and_resolve_references().unlock()
    config.model = tiny_config.model
    with pytest.raises(cnn_jax.errors.UserError, match="weights of another network"):
        train(config.lock(), tmp_path / "run")


def test_a_scan_starts_at_the_accuracy_of_the_network_and_is_drawn(dense_run, tmp_path):
    run = cnn_jax.load_run(dense_run)
    images = np.random.default_rng(0).integers(0, 256, (20, *run.image_shape), np.uint8)
    labels = run.predict(images).argmax(-1)
    found = sensitivity.scan(run, Split(images, labels), (1.0, 0.1))
    assert {accuracies[0] for accuracies in found.values()} == {1.0}
    assert min(accuracies[1] for accuracies in found.values()) < 1
    sensitivity.draw(found, (1.0, 0.1), tmp_path / "scan.png")
    assert (tmp_path / "scan.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("network", ["5", "300-100"])
def test_lenets_recipes_have_the_papers_densities_and_bits(network):
    pruned = cnn_jax.load_config(f"{LENET}:{network},prune").compression.amount
    shared = cnn_jax.load_config(f"{LENET}:{network},share").compression.bits
    assert pruned.ip1 == 0.08 and list(pruned) == list(shared)
    assert shared.ip2 == {"5": 5, "300-100": 6}[network]
