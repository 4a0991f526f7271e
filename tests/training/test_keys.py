"""What is random in a step is a function of its seed and number; other uses have other keys."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_jax.optim import losses
from cnn_jax.optim.schedules import LearningRate
from cnn_jax.training import steps
from cnn_jax.training.steps import Batch, TrainState

RATE = LearningRate(optax.constant_schedule(0.1), None)
IMAGES, LABELS = np.arange(16, dtype=np.float32).reshape(8, 2), np.arange(8)
LOSS = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)


def state_at(seed, step):
    params = {"w": np.zeros((2, 10), np.float32)}
    return TrainState(np.uint32(seed), np.int32(step), params, {}, optax.sgd(0.0).init(params), {})


def numbers(key):
    return tuple(jax.random.key_data(key).tolist())


def test_keys_are_those_of_seed_and_step_in_every_version():
    # Other numbers would give another end to a run that was stopped before an upgrade.
    augmentation, dropout = steps.step_keys(state_at(3, 5))
    assert numbers(augmentation) == (543421569, 3302109671)
    assert numbers(dropout) == (1594766187, 4033659082)


def test_no_two_seeds_steps_or_uses_share_a_key():
    states = [state_at(seed, step) for seed in range(3) for step in range(3)]
    keys = [numbers(key) for state in states for key in steps.step_keys(state)]
    initial = [numbers(jax.random.fold_in(jax.random.key(seed), 0)) for seed in range(3)]
    assert len({*keys, *initial}) == 2 * 9 + 3


def no_loss(logits, labels, auxiliary):
    return 0 * logits[:, 0]


class Model:
    """A linear network that keeps what it was called with, and adds noise where it has a scale."""

    def __init__(self, noise=0.0):
        self.noise, self.seen = noise, {}

    def init(self, key, images, train):
        self.seen = {"key": key, "images": images, "train": train}
        return {"params": {"w": jnp.ones((2, 10))}}

    def apply(self, variables, images, *, train, rngs=None, mutable=()):
        self.seen = {"train": train, "mutable": set(mutable), "rngs": rngs}
        logits = images @ variables["params"]["w"]
        if self.noise:
            logits = logits + self.noise * jax.random.normal(rngs["dropout"], logits.shape)
        return (logits, {}) if rngs else logits


def test_the_first_state_is_drawn_by_the_seed_and_by_a_key_of_no_step():
    model = Model()
    state = steps.create_state(model, optax.sgd(0.1), (4, 3, 2), keep_average=True, seed=7)
    assert numbers(model.seen["key"]) == numbers(jax.random.fold_in(jax.random.key(7), 0))
    assert model.seen["images"].shape == (1, 4, 3, 2) and model.seen["train"] is False
    assert (int(state.seed), int(state.step)) == (7, 0)
    assert state.seed.dtype == "uint32" and state.step.dtype == "int32"
    assert (
        state.weights("raw") == {"params": state.params, "batch_stats": {}} == state.weights("ema")
    )


def test_a_step_augments_with_its_first_key_and_drops_with_its_second(monkeypatch):
    monkeypatch.setattr(steps, "step_keys", lambda state: ("first", "second"))
    model, seen = Model(), []

    def augment(key, images, index):
        seen.append(key)
        return images + index[:, None]

    step = jax.jit(steps.make_train_step(model, optax.sgd(0.0), RATE, no_loss, augment))
    after, metrics = step(state_at(3, 5), Batch(IMAGES, LABELS, LABELS + 20))
    assert (seen, model.seen["rngs"]) == (["first"], {"dropout": "second"})
    assert model.seen["train"] is True and "aux_logits" in model.seen["mutable"]
    assert (int(after.seed), int(after.step)) == (3, 6)
    assert float(metrics["learning_rate"]) == pytest.approx(0.1)


def test_every_microbatch_drops_with_a_key_of_its_own():
    step = steps.make_train_step(
        Model(1.0), optax.sgd(0.0), RATE, LOSS, lambda key, x, i: x, microbatches=2
    )
    state = state_at(3, 5)
    _, metrics = jax.jit(step)(state, Batch(IMAGES, LABELS, LABELS))

    @jax.jit
    def expected(key):
        noise = [jax.random.normal(own, (4, 10)) for own in jax.random.split(key, 2)]
        return sum(LOSS(own, LABELS[i::2]).mean() for i, own in enumerate(noise)) / 2

    loss = expected(steps.step_keys(state)[1])
    assert float(metrics["loss"]) == pytest.approx(float(loss), rel=1e-5)


class Data(flax.struct.PyTreeNode):
    """Batches whose images are what the jitter made of zeros."""

    def batch(self, examples, color_jitter):
        images = color_jitter(jnp.zeros((len(examples), 2)), examples)
        return Batch(images, examples, examples)

    def counts(self, examples):
        return {"skipped": examples.sum()}


def test_colors_of_each_step_have_the_first_key_of_that_step():
    def jitter(key, images, index):
        return images + jax.random.uniform(key) + index[:, None]

    def train_step(state, batch):
        return state.replace(step=state.step + 1), {"seen": batch.images[:, 0]}

    examples = np.arange(6).reshape(3, 2)
    program = steps.scan_steps(train_step, jitter)
    after, metrics = program(state_at(3, 5), Data(), examples)
    keys = [steps.step_keys(state_at(3, step))[0] for step in (5, 6, 7)]
    expected = examples + np.array([jax.random.uniform(key) for key in keys])[:, None]
    np.testing.assert_allclose(metrics["seen"], expected, rtol=1e-6)
    assert metrics["skipped"].tolist() == [1, 5, 9] and int(after.step) == 8


def test_padding_counts_nothing_in_an_evaluation_not_even_what_is_no_number():
    model, weights, images = Model(), np.ones(8, np.float32), IMAGES.copy()
    weights[3], images[3] = 0, np.nan
    kernel = np.zeros((2, 10), np.float32)
    kernel[:, 6] = 0.1
    evaluate = jax.jit(steps.make_eval_step(model))
    sums = evaluate({"params": {"w": kernel}}, Batch(images, LABELS, LABELS), weights)
    assert model.seen["train"] is False
    kept = np.flatnonzero(weights)
    logits = images[kept] @ kernel
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert float(sums["loss"]) == pytest.approx(-log_p[range(7), LABELS[kept]].sum(), rel=1e-5)
    # Class 6 wins everywhere, then come 0 to 5 by their order: 4 and 5 (and 7) are not in five.
    assert (float(sums["top1_error"]), float(sums["top5_error"])) == (6.0, 3.0)
    assert float(sums["count"]) == 7.0


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_one_number_that_is_not_finite_is_found_among_all_arrays(bad):
    good = {"a": jnp.ones(3), "b": jnp.ones((2, 2))}
    assert steps.is_finite(good)
    assert not steps.is_finite(good | {"a": jnp.array([1.0, bad, 1.0])})
    assert not steps.is_finite(good | {"b": jnp.full((2, 2), bad)})


@pytest.mark.parametrize("microbatches", [1, 2, 3])
def test_gradients_are_accumulated_over_more_than_one_microbatch(microbatches, monkeypatch):
    asked = []
    monkeypatch.setattr(steps, "accumulated", lambda gradient, count: asked.append(count))
    steps.make_train_step(None, None, None, None, None, microbatches=microbatches)
    assert asked == ([microbatches] if microbatches > 1 else [])


@pytest.mark.parametrize("scale", [None, 0.25])
def test_the_learning_rate_in_the_metrics_is_that_of_the_schedule_and_the_plateau(
    scale, monkeypatch
):
    monkeypatch.setattr(steps.plateau, "scale", lambda state: scale)
    gradient = lambda state, batch, key: (state.params, {}, {"loss": jnp.float32(3)})  # noqa: E731
    monkeypatch.setattr(steps, "make_gradient", lambda *_: gradient)
    rate = LearningRate(lambda step: 0.5 + step, scale and "rule")
    step = steps.make_train_step(
        None, optax.sgd(1.0), rate, None, lambda key, images, index: images,
        measure=lambda params: {"first": params["w"][0]},
    )  # fmt: skip
    params = {"w": jnp.array([2.0, 4.0])}
    state = TrainState(jnp.uint32(3), jnp.int32(5), params, {}, optax.sgd(1.0).init(params), {})
    after, metrics = step(state, Batch(jnp.zeros((1, 1, 1, 1)), None, None))
    assert float(metrics["learning_rate"]) == 5.5 * (scale or 1)
    assert (float(metrics["loss"]), float(metrics["first"]), int(after.step)) == (3, 0, 6)
    assert after.params["w"].tolist() == [0, 0] and after.ema == {}
