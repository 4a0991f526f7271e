"""Filters, norms and batch norms are the weights of the run, told by layer."""

import numpy as np
import pytest

import cnn_jax
from cnn_jax.analysis.explain import batch_norms, filters, norms
from cnn_jax.errors import UserError
from tests.analysis.explain.making import SmallRun, axes


@pytest.fixture(scope="module")
def run(dense_run):
    return cnn_jax.load_run(dense_run)


def test_filters_of_all_together_reach_from_black_to_white():
    run = SmallRun()
    kernel = run.variables()["params"]["conv1"]["kernel"]
    found = filters.filters(run)
    assert (found.shape, found.min(), found.max()) == ((4, 3, 3, 3), 0, 1)
    span = kernel.max() - kernel.min()
    np.testing.assert_allclose(found[2], (kernel[..., 2] - kernel.min()) / span, atol=1e-6)


def test_filters_are_in_rgb_whatever_order_the_network_takes():
    run = SmallRun()
    plain = filters.filters(run)
    run.preprocessing = run.preprocessing.replace(channels=np.array([2, 1, 0], np.int32))
    np.testing.assert_array_equal(filters.filters(run), plain[..., ::-1])


def test_filters_are_drawn_side_by_side():
    (image,) = filters.draw(axes(), np.zeros((4, 3, 3, 3)), columns=2).images
    assert image.get_array().shape == (7, 7, 3)


def test_a_network_without_convolution_has_no_filters(run):
    with pytest.raises(UserError, match="no first convolution"):
        filters.filters(run)


def test_norms_are_those_of_the_kernels_at_each_checkpoint(run):
    found = norms.weights(run)
    assert list(found) == ["ip1", "ip2", "ip3"]
    kernels = [run.variables(step)["params"]["ip2"]["kernel"] for step in run.steps]
    np.testing.assert_allclose(found["ip2"], [np.sqrt((k**2).sum()) for k in kernels], rtol=1e-5)
    change = np.sqrt(((kernels[1] - kernels[0]) ** 2).sum()) / np.sqrt((kernels[0] ** 2).sum())
    assert norms.updates(run)["ip2"][0] == pytest.approx(change, rel=1e-4)


def test_one_checkpoint_has_no_update():
    with pytest.raises(UserError, match="has 1 checkpoint; an update is between two"):
        norms.updates(SmallRun())


def test_norms_are_drawn_by_layer_at_the_first_and_the_last_checkpoint():
    drawn = norms.draw(axes(), {"a": np.array([1, 2, 3]), "b": np.array([4, 5, 6])})
    assert [line.get_xdata().tolist() for line in drawn.lines] == [[1, 4], [3, 6]]


def test_batch_norms_are_told_by_layer():
    run = SmallRun()
    run.variables()["batch_stats"]["bn1"]["var"][:] = 2
    run.variables()["params"]["bn1"]["bias"][:] = 3
    expected = {"mean": [0] * 4, "var": [2] * 4, "scale": [1] * 4, "bias": [3] * 4}
    found = batch_norms.batch_norms(run)
    assert found.keys() == {"bn1"}
    assert {name: array.tolist() for name, array in found["bn1"].items()} == expected


def test_a_network_without_batch_norm_has_none(run):
    with pytest.raises(UserError, match="has no batch norm"):
        batch_norms.batch_norms(run)


def test_a_statistic_is_drawn_by_its_median():
    found = {"bn1": {"var": np.array([1.0, 2.0, 9.0])}, "bn2": {"var": np.array([4.0])}}
    drawn = batch_norms.draw(axes(), found, "var")
    assert drawn.lines[0].get_xdata().tolist() == [2, 4]
    with pytest.raises(UserError, match="unknown statistic 'variance'"):
        batch_norms.draw(axes(), found, "variance")
