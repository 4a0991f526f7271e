"""The loss and the errors are what they are called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax.errors import UserError
from cnn_jax.optim import losses


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


@pytest.mark.parametrize("smoothing", [-0.01, 1.01])
def test_smoothing_is_a_fraction(smoothing):
    losses.create(label_smoothing=round(smoothing), auxiliary_weight=0.0)
    with pytest.raises(UserError, match=f"label_smoothing {smoothing} is not in"):
        losses.create(label_smoothing=smoothing, auxiliary_weight=0.0)


def test_every_auxiliary_head_adds_its_loss_with_the_weight():
    loss = jax.jit(losses.create(label_smoothing=0.0, auxiliary_weight=0.3))
    logits, labels = np.float32([[0, 0], [0, 0]]), np.array([0, 1])
    heads = [logits, logits]
    np.testing.assert_allclose(loss(logits, labels, heads), np.log(2) * np.full(2, 1.6), rtol=1e-5)
    np.testing.assert_allclose(loss(logits, labels), np.log(2) * np.ones(2), rtol=1e-5)


def test_of_equal_logits_the_first_class_wins():
    logits = np.float32([[2, 3, 3, 1, 3, 0]] * 6)
    assert jax.jit(losses.ranks)(logits, np.arange(6)).tolist() == [3, 0, 1, 4, 2, 5]
