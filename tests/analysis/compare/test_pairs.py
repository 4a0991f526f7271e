"""Two networks: the line between them, where they agree, what changed in their layers."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import cnn_jax
from cnn_jax.analysis.compare import agreement, changes, interpolation
from cnn_jax.analysis.explain.answers import Answers
from cnn_jax.errors import UserError
from cnn_jax.evaluation.predict import Examples, Predictions


@pytest.fixture(scope="module")
def run(dense_run):
    return cnn_jax.load_run(dense_run)


@pytest.fixture(scope="module")
def line(run):
    """From the run's first checkpoint to its last, at both ends and between them."""
    steps = (run.steps[0], "last")
    return interpolation.interpolation(run, run, (0, 0.25, 1), steps=steps)


def test_the_ends_of_the_line_are_the_checkpoints(run, line):
    for point, step in ((0, run.steps[0]), (1, "last")):
        for split in ("train", "test"):
            own = line[(line["split"] == split) & (line["point"] == point)].iloc[0]
            expected = cnn_jax.evaluate(run, split=split, step=step)
            assert own["loss"] == pytest.approx(expected["loss"], rel=1e-5)
            assert own["top1_error"] == expected["top1_error"]


def test_between_them_lies_the_mean_of_their_weights(run):
    ends = run.variables(run.steps[0]), run.variables()
    middle = interpolation.between(*ends, 0.25)
    expected = jax.tree.map(lambda a, b: 0.75 * a + 0.25 * b, *ends)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), middle, expected)


def test_some_examples_are_evenly_out_of_all():
    examples = Examples(np.arange(10), lambda i: 10 * i, lambda i: f"image {i}", "L", "raise")
    chosen = interpolation.some(examples, 4)
    assert list(chosen.labels) == [0, 3, 6, 9]
    assert [chosen.open(i) for i in range(4)] == [0, 30, 60, 90] and chosen.where(1) == "image 3"
    assert interpolation.some(examples, 10) is examples
    with pytest.raises(UserError, match="0 examples"):
        interpolation.some(examples, 0)


def test_networks_that_are_not_alike_have_no_line(run):
    other = SimpleNamespace(path="other", variables=lambda step: {"params": {"a": np.zeros(3)}})
    with pytest.raises(UserError, match="are not alike"):
        interpolation.interpolation(run, other)


def test_without_batch_norm_there_is_nothing_to_estimate_anew(run):
    with pytest.raises(UserError, match="no batch norm"):
        interpolation.interpolation(run, run, (0,), reestimate=True)


@pytest.mark.slow
def test_batch_statistics_are_estimated_anew_at_each_point(tiny_run):
    run = cnn_jax.load_run(tiny_run)
    ends = {"steps": (run.steps[0], "last"), "splits": ["test"], "examples": 100}
    plain, anew = (
        interpolation.interpolation(run, run, (0, 0.5, 1), **ends, reestimate=choice)["loss"]
        for choice in (False, True)
    )
    assert (plain != anew).all() and anew[2] == pytest.approx(plain[2], rel=0.5)


def test_the_line_is_drawn_for_each_split(line):
    axes = Figure().subplots()
    interpolation.draw(axes, line, of="top1_error")
    assert [own.get_label() for own in axes.lines] == ["train", "test"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 100 * line["top1_error"][:3])


def answers(predicted, labels=(0, 1, 2, 0)):
    """Of a network that is sure of these classes."""
    index = np.arange(len(labels), dtype=np.int32)
    found = Predictions(index, np.array(labels), np.eye(3, dtype=np.float32)[list(predicted)])
    return Answers(found, ("a", "b", "c"), lambda i: None)


def test_agreement_counts_what_two_networks_say_and_where_both_err():
    pair = {"x": answers([0, 2, 0, 1]), "y": answers([0, 2, 2, 1])}
    (row,) = agreement.agreement(pair).to_dict("records")
    assert (row["first"], row["second"]) == ("x", "y")
    # x errs on examples 1, 2, 3 and y on 1 and 3, of which they say the same.
    assert (row["agree"], row["both_wrong"], row["same_mistake"]) == (0.75, 0.5, 1)
    chance = 0.75 * 0.5 + 0.25 * 0.5
    assert row["error_consistency"] == pytest.approx((0.75 - chance) / (1 - chance))


def test_networks_that_err_alike_are_consistent_and_those_without_errors_are_neither():
    same = {"x": answers([1, 1, 2, 0]), "y": answers([2, 1, 2, 0])}
    assert agreement.agreement(same)["error_consistency"][0] == 1
    right = agreement.agreement(dict.fromkeys("xy", answers([0, 1, 2, 0]))).iloc[0]
    assert np.isnan(right["error_consistency"]) and np.isnan(right["same_mistake"])


def test_agreement_is_of_networks_that_saw_the_same_images():
    with pytest.raises(UserError, match="x and y saw other images"):
        agreement.agreement({"x": answers([0] * 4), "y": answers([0] * 4, [1] * 4)})
    with pytest.raises(UserError, match="two networks or more"):
        agreement.agreement({"x": answers([0] * 4)})


def test_the_matrix_of_agreement_is_symmetric():
    names = {"x": answers([0, 2, 0, 1]), "y": answers([0, 2, 1, 0]), "z": answers([0, 1, 2, 0])}
    found, axes = agreement.agreement(names), Figure().subplots()
    agreement.draw(axes, found)
    matrix = axes.images[0].get_array()
    np.testing.assert_array_equal(matrix, matrix.T)
    assert matrix[0, 1] == found["agree"][0] and matrix[1, 2] == found["agree"][2]


def test_changes_are_by_layer_and_nothing_has_changed_of_a_network_beside_itself(run):
    found = changes.changes(run, run, steps=(run.steps[0], "last"))
    parameters = sum(array.size for array in jax.tree.leaves(run.variables()["params"]))
    assert found["parameters"].sum() == parameters and (found["relative"] > 0).all()
    assert next(iter(found.index)) == "ip1"
    same = changes.changes(run, run)
    assert (same["changed"] == 0).all() and (same["change"] == 0).all()
    assert same["cosine"].to_numpy() == pytest.approx(1)


def test_the_numbers_of_a_layer_are_those_of_its_parameters():
    found = changes.compared(np.array([3.0, 4.0, 0.0]), np.array([3.0, 0.0, 0.0]))
    expected = {"parameters": 3, "changed": 1 / 3, "norm": 5, "change": 4, "relative": 0.8}
    assert found == pytest.approx(expected | {"cosine": 0.6})
    assert np.isnan(changes.compared(np.zeros(2), np.ones(2))["relative"])


def test_a_layer_of_another_shape_is_left_out(run, monkeypatch):
    other = cnn_jax.load_run(run.path)
    variables = run.variables()
    first, *_, last = variables["params"]
    variables["params"][last] = {"kernel": np.zeros((3, 2)), "bias": np.zeros(2)}
    monkeypatch.setattr(other, "variables", lambda step: variables)
    found = changes.changes(run, other)
    assert first in found.index and last not in found.index
    variables["params"].clear()
    with pytest.raises(UserError, match="share no layer"):
        changes.changes(run, other)


def test_changes_are_drawn_from_the_input_on(run):
    axes = Figure().subplots()
    found = changes.changes(run, run, steps=(run.steps[0], "last"))
    changes.draw(axes, found)
    assert [bar.get_width() for bar in axes.patches] == list(found["relative"])
    assert axes.yaxis_inverted()
