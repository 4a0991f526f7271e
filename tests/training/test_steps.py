"""A step learns, several in one program are the same steps, evaluation counts each example once."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_jax.data import Split, preprocess
from cnn_jax.training import evaluate, losses, program, steps
from cnn_jax.training.state import create_state


@pytest.fixture(scope="module")
def built(tiny_config):
    return program.build(tiny_config)


def test_ten_steps_in_one_program_are_ten_steps_one_by_one(built):
    together, values = built.run_steps(built.create_state(), 0, 10)
    one, alone = built.create_state(), []
    for step in range(10):
        one, value = built.run_steps(one, step, 1)
        alone.append(float(value["loss"][0]))
    np.testing.assert_allclose(values["loss"], alone, rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        together.params,
        one.params,
    )
    assert int(together.step) == int(one.step) == 10


def test_fifty_steps_learn_the_training_images(built):
    _, values = built.run_steps(built.create_state(), 0, 50)
    assert values["top1_error"][:5].mean() > 0.5 > values["top1_error"][-5:].mean()


def test_batch_statistics_move_in_training(built):
    before = built.create_state()
    after, _ = built.run_steps(built.create_state(), 0, 1)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before.batch_stats, after.batch_stats)
    assert all(jax.tree.leaves(moved))


def test_another_seed_starts_from_other_values(tiny_config):
    values = []
    for seed in (0, 1):
        config = tiny_config.copy_and_resolve_references()
        config.seed = seed
        values.append(program.build(config).create_state().params["conv1"]["kernel"])
    assert (values[0] != values[1]).all()


@pytest.mark.parametrize("batch_size", [7, 50, 64])
def test_evaluation_counts_every_example_once(built, batch_size):
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (50, 8, 8, 1), np.uint8), np.arange(50, dtype=np.int32) % 10)
    fitted = preprocess.fit(split, mean="pixel", deviation="scalar", whitening="none")
    variables = built.create_state().variables
    logits = built.model.apply(variables, fitted(split.images), train=False)
    numbers = evaluate.make_evaluate(built.model, split, fitted, batch_size)(variables)
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)(
        logits, jnp.asarray(split.labels)
    )
    assert numbers["loss"] == pytest.approx(float(loss.mean()), rel=1e-4)
    wrong = (np.asarray(logits).argmax(1) != split.labels).mean()
    assert numbers["top1_error"] == pytest.approx(wrong, abs=1e-6)


def test_the_step_is_pure(built):
    state = create_state(built.model, optax.sgd(0.1), (8, 8, 1), seed=0)
    batch = steps.Batch(jnp.ones((4, 8, 8, 1)), jnp.arange(4), jnp.arange(4))
    train_step = steps.make_train_step(
        built.model,
        optax.sgd(0.1),
        losses.create(label_smoothing=0.0, auxiliary_weight=0.0),
        lambda key, images, index: images,
        seed=0,
    )
    first, second = jax.jit(train_step)(state, batch), jax.jit(train_step)(state, batch)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), first, second)


class TwoHeads(nn.Module):
    """A linear network with an auxiliary head."""

    @nn.compact
    def __call__(self, images, train=False):
        x = images.reshape(len(images), -1)
        self.sow("aux_logits", "head", nn.Dense(10, name="auxiliary")(x))
        return nn.Dense(10, name="main")(x)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_auxiliary_heads_are_trained_with_their_weight(weight):
    model, optimizer = TwoHeads(), optax.sgd(1.0)
    state = create_state(model, optimizer, (4, 4, 1), seed=0)
    images = jax.random.normal(jax.random.key(0), (8, 4, 4, 1))
    batch = steps.Batch(images, jnp.arange(8), jnp.arange(8))
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=weight)
    train_step = steps.make_train_step(model, optimizer, loss, lambda k, x, i: x, seed=0)
    after, metrics = train_step(state, batch)

    def alone(params, head):
        logits = images.reshape(8, -1) @ params[head]["kernel"] + params[head]["bias"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()

    gradient = jax.grad(alone)(state.params, "auxiliary")["auxiliary"]["kernel"]
    moved = state.params["auxiliary"]["kernel"] - after.params["auxiliary"]["kernel"]
    np.testing.assert_allclose(moved, weight * gradient, atol=1e-5)
    total = alone(state.params, "main") + weight * alone(state.params, "auxiliary")
    assert float(metrics["loss"]) == pytest.approx(float(total), rel=1e-5)
