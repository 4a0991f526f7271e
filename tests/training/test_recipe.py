"""Durations, learning rates, the optimizer and the loss are what the recipe says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax.errors import UserError
from cnn_jax.training import losses, optimizers, schedules
from cnn_jax.training.durations import to_steps


@pytest.mark.parametrize(
    "duration,steps",
    [("64000 steps", 64_000), ("64_000 steps", 64_000), ("1 epoch", 390), ("0.5 epochs", 195)],
)
def test_a_duration_is_steps_or_epochs(duration, steps):
    assert to_steps(duration, 390) == steps


@pytest.mark.parametrize("duration", ["10", "ten epochs", "5 hours", ""])
def test_a_duration_without_a_number_and_a_unit_is_refused(duration):
    with pytest.raises(UserError, match="write '64000 steps' or '10 epochs'"):
        to_steps(duration, 390)


def schedule(**changes):
    settings = {
        "schedule": "step",
        "warmup": "0 steps",
        "warmup_shape": "constant",
        "warmup_rate": 0.01,
        "duration": "64000 steps",
        "steps_per_epoch": 390,
    }
    return schedules.create(**settings | changes)


def test_the_step_schedule_drops_at_32k_and_48k_steps():
    rate = schedule(rate=0.1, drops=["32000 steps", "48000 steps"], factor=0.1)
    values = [float(rate(step)) for step in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
    np.testing.assert_allclose(values, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-5)


def test_a_constant_warmup_ends_at_once():
    rate = schedule(rate=0.1, drops=[], factor=0.1, warmup="400 steps")
    np.testing.assert_allclose([rate(0), rate(399), rate(400)], [0.01, 0.01, 0.1], rtol=1e-5)


def test_cosine_with_linear_warmup_rises_and_ends_at_the_final_rate():
    settings = {"schedule": "cosine", "warmup": "1 epoch", "warmup_shape": "linear"}
    rate = schedule(**settings, rate=0.2, final_rate=0.002, duration="10 epochs")
    assert float(rate(195)) == pytest.approx((0.01 + float(rate(390))) / 2, rel=0.03)
    assert float(rate(1950)) == pytest.approx((0.2 + 0.002) / 2, rel=1e-4)
    assert float(rate(3900)) == pytest.approx(0.002, rel=1e-4)


def test_a_field_of_another_schedule_is_refused_with_the_right_ones():
    with pytest.raises(UserError, match="unknown field .*'drops'.*rate, final_rate"):
        schedule(schedule="cosine", rate=0.1, final_rate=0.0, drops=[])


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("rate_inside", [False, True])
@pytest.mark.parametrize("decay", ["all", "kernels"])
def test_momentum_is_the_update_rule_written_out(nesterov, rate_inside, decay):
    rates = [0.1, 0.1, 0.01]
    optimizer = optimizers.create(
        name="momentum",
        momentum=0.9,
        nesterov=nesterov,
        weight_decay=0.5,
        decay=decay,
        rate_inside=rate_inside,
        learning_rate=lambda count: jnp.array(rates)[count],
    )
    params = {"conv": {"kernel": jnp.array([1.0, -2.0])}, "bn": {"scale": jnp.array([3.0])}}
    expected = {"kernel": np.array([1.0, -2.0]), "scale": np.array([3.0])}
    velocity = {"kernel": 0.0, "scale": 0.0}
    state = optimizer.init(params)
    for rate in rates:
        gradients = jax.tree.map(jnp.cos, params)
        updates, state = optimizer.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        for name, value in expected.items():
            decays = decay == "all" or name == "kernel"
            g = np.cos(value) + (0.5 * value if decays else 0)
            g = rate * g if rate_inside else g
            velocity[name] = 0.9 * velocity[name] + g
            step = g + 0.9 * velocity[name] if nesterov else velocity[name]
            expected[name] = value - (step if rate_inside else rate * step)
    np.testing.assert_allclose(params["conv"]["kernel"], expected["kernel"], rtol=1e-5)
    np.testing.assert_allclose(params["bn"]["scale"], expected["scale"], rtol=1e-5)


def test_label_smoothing_spreads_its_share_over_all_classes():
    logits, labels = jnp.array([[2.0, 0.0, -1.0]]), jnp.array([0])
    log_p = np.log(np.exp(logits) / np.exp(logits).sum())[0]
    (loss,) = losses.create(label_smoothing=0.3, auxiliary_weight=0.0)(logits, labels)
    assert float(loss) == pytest.approx(-(0.7 * log_p[0] + 0.3 * log_p.mean()), rel=1e-5)


def test_top1_and_top5_errors_count_ranks():
    logits = jnp.tile(jnp.arange(10.0)[::-1], (10, 1))  # class k has rank k
    errors = losses.errors(logits, jnp.arange(10))
    assert errors["top1_error"].tolist() == [0] + [1] * 9
    assert errors["top5_error"].tolist() == [0] * 5 + [1] * 5


def test_equal_logits_and_nan_are_not_right_for_every_class():
    equal = losses.errors(jnp.zeros((10, 10)), jnp.arange(10))
    assert float(equal["top1_error"].mean()) == pytest.approx(0.9)
    broken = losses.errors(jnp.full((10, 10), jnp.nan), jnp.arange(10))
    assert float(broken["top1_error"].mean()) == 1
