"""CKA equals its formulas, and does not see what it is meant not to see."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from cnn_jax.analysis.compare import cka
from cnn_jax.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((24, 3))  # stands for images: a network of the tests is a matrix


def network(**matrices):
    """A run whose layers are these linear functions of the image, and twice that at step 2."""

    def features(images, layers, step):
        scale = 2.0 if step == 2 else 1.0
        return {name: scale * np.stack(images) @ matrices[name] for name in layers}

    return SimpleNamespace(features=features)


def linear(width):
    return RNG.standard_normal((3, width))


FIRST, SECOND = network(a=linear(5), b=linear(2)), network(a=linear(4), c=linear(3))


def by_formula(x, y):
    """Kornblith et al. (2019), section 3: of centered features."""
    x, y = x - x.mean(0), y - y.mean(0)
    norm = np.linalg.norm
    return norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y))


def hsic_1(k, m):
    """Song et al. (2012), equation 5; Nguyen et al. (2021), equation 3."""
    n, one = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    total = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * one @ k @ m @ one) / (n * (n - 3))


def test_of_one_batch_it_is_the_papers_formula():
    found = cka.cka(FIRST, SECOND, IMAGES, ["a", "b"], ["c", "a"])
    assert list(found.index) == ["a", "b"] and list(found.columns) == ["c", "a"]
    x, y = (run.features(IMAGES, [name], 1)[name] for run, name in ((FIRST, "b"), (SECOND, "c")))
    assert found.loc["b", "c"] == pytest.approx(by_formula(x, y), abs=1e-5)


def test_of_several_batches_it_is_the_mean_of_estimates_without_bias():
    found = cka.cka(FIRST, SECOND, IMAGES + 10, ["a"], ["c"], batch_size=8)
    sums = np.zeros(3)
    for batch in (IMAGES[:8], IMAGES[8:16], IMAGES[16:]):
        x, y = FIRST.features(batch, ["a"], 1)["a"], SECOND.features(batch, ["c"], 1)["c"]
        k, m = x @ x.T, y @ y.T
        sums += [hsic_1(k, m), hsic_1(k, k), hsic_1(m, m)]
    expected = sums[0] / np.sqrt(sums[1] * sums[2])
    assert found.loc["a", "c"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch_size", [24, 8])
def test_scale_and_rotation_of_a_layer_do_not_matter(batch_size):
    matrix, rotation = linear(3), np.linalg.qr(RNG.standard_normal((3, 3)))[0]
    ends = network(a=matrix), network(a=matrix @ rotation)
    how = {"steps": (1, 2), "batch_size": batch_size}
    assert cka.cka(*ends, IMAGES, ["a"], **how).to_numpy() == pytest.approx(1, abs=1e-5)


def test_a_run_gives_its_layers(dense_run):
    import cnn_jax

    run = cnn_jax.load_run(dense_run)
    images = RNG.integers(0, 256, (16, 8, 8, 1), np.uint8)
    found = cka.cka(run, run, images, "ip*")
    assert np.diag(found) == pytest.approx(1, abs=1e-5)
    assert (found.to_numpy() <= 1 + 1e-6).all() and found.iloc[0, -1] < 0.999


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match="3 images: CKA needs 4"):
        cka.cka(FIRST, SECOND, IMAGES[:3], ["a"])


def test_the_layers_stand_at_the_sides_of_the_picture():
    found = cka.cka(FIRST, SECOND, IMAGES, ["a", "b"], ["a", "c"])
    axes = Figure().subplots()
    assert cka.draw(axes, found) is axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "c"]
    np.testing.assert_array_equal(axes.images[0].get_array(), found)
