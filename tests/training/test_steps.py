"""A step learns, several in one program are the same steps, evaluation counts each example once."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_jax import models
from cnn_jax.cluster.join import Alone
from cnn_jax.data import Split, preprocess
from cnn_jax.errors import UserError
from cnn_jax.models import layers
from cnn_jax.optim import ema, losses
from cnn_jax.optim.schedules import LearningRate
from cnn_jax.training import build, compiler, inputs, steps
from cnn_jax.training.sharding import data_mesh
from cnn_jax.training.steps import create_state

RATE = LearningRate(optax.constant_schedule(0.1), None)  # for the metrics
PRECISE = compiler.Jit(with_precision=compiler.precision(matmul="default"))


@pytest.fixture(scope="module")
def built(tiny_config):
    return build.build(tiny_config)


def test_five_steps_in_one_program_are_five_steps_one_by_one(dense_config):
    built = build.build(dense_config)
    together, values = built.run_steps(built.initial_state(), 0, 5)
    one, alone = built.initial_state(), []
    for step in range(5):
        one, value = built.run_steps(one, step, 1)
        alone.append(float(value["loss"][0]))
    np.testing.assert_allclose(values["loss"], alone, rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        together.params,
        one.params,
    )
    assert int(together.step) == int(one.step) == 5


def test_fifty_steps_learn_the_training_images(built):
    state, errors = built.initial_state(), []
    for step in range(0, 50, 5):
        state, values = built.run_steps(state, step, 5)
        errors.extend(np.asarray(values["top1_error"]))
    assert np.mean(errors[:5]) > 0.5 > np.mean(errors[-5:])


def test_batch_statistics_move_in_training(built):
    before = built.initial_state()
    after, _ = built.run_steps(built.initial_state(), 0, 1)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before.batch_stats, after.batch_stats)
    assert all(jax.tree.leaves(moved))


def test_another_seed_starts_from_other_values(dense_config):
    values = []
    for seed in (0, 1):
        config = dense_config.copy_and_resolve_references()
        config.seed = seed
        values.append(build.build(config).initial_state().params["ip1"]["kernel"])
    assert (values[0] != values[1]).all()


@pytest.mark.parametrize("batch_size", [7, 50, 64])
def test_evaluation_counts_every_example_once(built, batch_size):
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (50, 8, 8, 1), np.uint8), np.arange(50, dtype=np.int32) % 10)
    fitted = preprocess.fit(split, mean="pixel", std="scalar", whitening="none")
    variables = built.initial_state().variables
    apply = jax.jit(partial(built.parts.model.apply, train=False))
    logits = apply(variables, fitted(split.images))
    evaluated = inputs.make_evaluate(
        built.parts.model, split, fitted, batch_size, PRECISE, data_mesh(), Alone()
    )
    numbers = evaluated(variables)
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)(
        logits, jnp.asarray(split.labels)
    )
    assert numbers["loss"] == pytest.approx(float(loss.mean()), rel=1e-4)
    wrong = (np.asarray(logits).argmax(1) != split.labels).mean()
    assert numbers["top1_error"] == pytest.approx(wrong, abs=1e-6)


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
    state = create_state(model, optimizer, (4, 4, 1), keep_average=False, seed=0)
    images = jax.random.normal(jax.random.key(0), (8, 4, 4, 1))
    batch = steps.Batch(images, jnp.arange(8), jnp.arange(8))
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=weight)
    train_step = steps.make_train_step(model, optimizer, RATE, loss, lambda k, x, i: x)
    after, metrics = jax.jit(train_step)(state, batch)

    def alone(params, head):
        logits = images.reshape(8, -1) @ params[head]["kernel"] + params[head]["bias"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()

    gradient = jax.jit(jax.grad(alone), static_argnums=1)(state.params, "auxiliary")["auxiliary"][
        "kernel"
    ]
    moved = state.params["auxiliary"]["kernel"] - after.params["auxiliary"]["kernel"]
    np.testing.assert_allclose(moved, weight * gradient, atol=1e-5)
    total = alone(state.params, "main") + weight * alone(state.params, "auxiliary")
    assert float(metrics["loss"]) == pytest.approx(float(total), rel=1e-5)


class Linear(nn.Module):
    """A network whose gradient is a sum over the examples."""

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(10)(images.reshape(len(images), -1))


@pytest.mark.parametrize("microbatches", [2, 4])
def test_the_gradient_of_accumulated_microbatches_is_that_of_the_whole_batch(microbatches):
    model, optimizer = Linear(), optax.sgd(1.0)
    state = create_state(model, optimizer, (4, 4, 1), keep_average=False, seed=0)
    images = jax.random.normal(jax.random.key(0), (8, 4, 4, 1))
    batch = steps.Batch(images, jnp.arange(8), jnp.arange(8))
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)

    def after(microbatches):
        step = steps.make_train_step(
            model, optimizer, RATE, loss, lambda k, x, i: x, microbatches=microbatches
        )
        return jax.jit(step)(state, batch)

    (whole, whole_metrics), (accumulated, metrics) = after(1), after(microbatches)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole.params, accumulated.params
    )
    for name, value in whole_metrics.items():
        assert float(metrics[name]) == pytest.approx(float(value), rel=1e-5)


class Norm(nn.Module):
    """A batch norm alone, which writes what it saw."""

    @nn.compact
    def __call__(self, images, train=False):
        x = layers.BatchNorm(momentum=0.5, name="bn")(images, train)
        return nn.Dense(10)(x.mean((1, 2)))


def test_the_step_is_pure():
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)
    state = create_state(Norm(), optax.sgd(0.1), (2, 2, 1), keep_average=False, seed=0)
    batch = steps.Batch(jnp.ones((4, 2, 2, 1)), jnp.arange(4), jnp.arange(4))
    step = steps.make_train_step(Norm(), optax.sgd(0.1), RATE, loss, lambda k, x, i: x)
    first, second = (jax.jit(lambda s, b: step(s, b))(state, batch) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_running_averages_see_the_accumulated_microbatches_one_after_the_other():
    state = create_state(Norm(), optax.sgd(0.0), (2, 2, 1), keep_average=False, seed=0)
    # Microbatches are the examples 0, 2 and 1, 3: their means are 1 and 3.
    images = jnp.asarray([1.0, 3.0, 1.0, 3.0])[:, None, None, None] * jnp.ones((4, 2, 2, 1))
    batch = steps.Batch(images, jnp.arange(4), jnp.arange(4))
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)
    step = steps.make_train_step(
        Norm(), optax.sgd(0.0), RATE, loss, lambda k, x, i: x, microbatches=2
    )
    after, _ = jax.jit(step)(state, batch)
    assert float(after.batch_stats["bn"]["mean"][0]) == pytest.approx((0.5 * 1 + 3) / 2)


@pytest.mark.parametrize("ramp,rates", [(False, (0.9, 0.9)), (True, (0.1, 2 / 11))])
def test_averages_follow_parameters_and_statistics_with_the_decay(ramp, rates):
    average = ema.create(decay=0.9, ramp=ramp)
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)
    optimizer = optax.sgd(1.0)
    state = create_state(Norm(), optimizer, (2, 2, 1), seed=0, keep_average=True)
    images = jax.random.normal(jax.random.key(0), (4, 2, 2, 1))
    batch = steps.Batch(images, jnp.arange(4), jnp.arange(4))
    step = steps.make_train_step(Norm(), optimizer, RATE, loss, lambda k, x, i: x, average=average)
    step, expected = jax.jit(step), state.variables
    for rate in rates:
        state, _ = step(state, batch)
        expected = optax.incremental_update(state.variables, expected, 1 - rate)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.ema, expected
    )


def test_evaluating_averages_that_are_not_kept_is_refused(tiny_config):
    config = tiny_config.copy_and_resolve_references()
    config.evaluation.weights = "ema"
    with pytest.raises(UserError, match="evaluation.weights is 'ema', but ema.decay is 0"):
        build.build(config)


@pytest.mark.parametrize("matmul", ["default", "float32"])
def test_products_have_the_precision_of_the_config(matmul, built):
    with_precision = compiler.precision(matmul=matmul)
    variables = built.initial_state().variables
    forward = with_precision(lambda images: built.parts.model.apply(variables, images, train=False))
    text = str(jax.make_jaxpr(forward)(jnp.ones((1, 8, 8, 1))))
    assert ("Precision.HIGHEST" in text) == (matmul == "float32")


@pytest.mark.parametrize("name", ["wide_resnet", "cifar_resnet", "squeezenet"])
def test_bfloat16_networks_keep_parameters_and_statistics_in_float32(name):
    model = models.create(name, num_classes=10, dtype="bfloat16")
    images = jnp.ones((2, 32, 32, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    text = str(jax.make_jaxpr(lambda v: model.apply(v, images, train=False))(variables))
    convolutions = [line for line in text.splitlines() if "= conv_general_dilated" in line]
    assert convolutions and all(":bf16[" in line for line in convolutions)
    logits = jax.eval_shape(lambda v: model.apply(v, images, train=False), variables)
    assert logits.dtype == jnp.float32
