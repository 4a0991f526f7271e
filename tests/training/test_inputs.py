"""What programs are given of data in memory, with nothing trained."""

import types

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from cnn_jax import data
from cnn_jax.data import preprocess
from cnn_jax.data.dataset import batch_indices
from cnn_jax.training import inputs, sharding
from cnn_jax.training.plan import Plan

IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3, 1)
SPLIT = data.Split(IMAGES, np.array([2, 0, 1, 0, 2], np.int32))
FITTED = preprocess.fit(SPLIT, mean="none", std="none", whitening="none")
MESH = sharding.data_mesh(jax.devices()[:1])
PLAN = Plan(5, 2, 1, 2, 8, 8, 2, 8, ("test",), 3)


class Group:
    """A process that notes where arrays are put."""

    index, count = 0, 1

    def __init__(self):
        self.places = []

    def put_global(self, tree, place):
        self.places.append(place.spec)
        return tree


def made(numbers):
    seeds = types.SimpleNamespace(
        numbers=numbers,
        stack_examples=np.stack,
        by_example=types.SimpleNamespace(spec="by example"),
    )
    dataset = data.Dataset(tuple("abc"), {"train": SPLIT, "test": SPLIT})
    return inputs.InMemoryInputs(dataset, FITTED, None, PLAN, seeds, MESH, Group())


def test_the_shape_of_images_is_no_array_of_the_data():
    stored = inputs.InMemoryData.of(SPLIT, FITTED)
    assert {leaf.shape for leaf in jax.tree.leaves(stored)} == {(5, 128), (5,), (1,)}
    assert stored.shape == (2, 3, 1)


def test_a_program_is_given_the_data_and_the_numbers_of_its_examples_by_seed():
    found = made((3, 4))
    given, indices = found.take(1, 2, None)
    assert given is found.data and found._group.places == [PartitionSpec(), "by example"]
    expected = [batch_indices(seed, 1, 2, 2, 5) for seed in (3, 4)]
    np.testing.assert_array_equal(indices, expected)
    assert found.report() == ([], None) and found.close() is None


def test_an_evaluation_is_of_its_split_in_batches_of_the_plan(monkeypatch):
    found = made((3,))
    monkeypatch.setattr(inputs, "make_evaluate", lambda *arguments: arguments)
    arguments = found.make_evaluate("test", "model", "jit")
    assert arguments == ("model", SPLIT, FITTED, 3, "jit", MESH, found._group)


def test_means_of_an_evaluation_count_each_example_once(monkeypatch):
    def eval_step(variables, batch, weights):
        values = {
            "loss": batch.labels * variables,
            "top1_error": batch.index,
            "top5_error": 0 * weights,
        }
        sums = {name: (value * weights).sum() for name, value in values.items()}
        return {**sums, "count": weights.sum()}

    def jit(function, mesh, **how):
        assert mesh is MESH and not how
        return jax.jit(function)

    monkeypatch.setattr(inputs.steps, "make_eval_step", lambda model: eval_step)
    group = Group()
    evaluate = inputs.make_evaluate("model", SPLIT, FITTED, 3, jit, MESH, group)
    assert group.places == [PartitionSpec(), PartitionSpec(None, "data")]
    assert evaluate(jnp.float32(2)) == {"loss": 2.0, "top1_error": 2.0, "top5_error": 0.0}
