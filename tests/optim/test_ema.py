"""Averages move by the decay, and with a ramp by TensorFlow's."""

import numpy as np
import pytest

from cnn_jax.errors import UserError
from cnn_jax.optim import ema


@pytest.mark.parametrize(
    "decay,ramp,step,moved",
    [
        (0.9, False, 0, 0.1),
        (0.9, False, 10**6, 0.1),
        (0.9, True, 0, 0.9),  # min(decay, (1 + step) / (10 + step))
        (0.9, True, 3, 9 / 13),
        (0.9, True, 10**6, 0.1),
        (0.0, False, 5, 1.0),
    ],
)
def test_the_average_moves_by_what_the_decay_leaves(decay, ramp, step, moved):
    update = ema.create(decay=decay, ramp=ramp)
    after = update({"a": np.float32(2)}, {"a": np.float32(12)}, np.int32(step))
    assert float(after["a"]) == pytest.approx(2 + 10 * moved, rel=1e-5)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_is_no_average_is_refused(decay):
    with pytest.raises(UserError, match=f"ema.decay {decay} is not in"):
        ema.create(decay=decay, ramp=False)
