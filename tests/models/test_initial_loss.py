"""Networks whose last layer starts near zero start at the loss of a guess."""

import jax
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.optim import losses
from cnn_jax.training import compiler

SMALL_HEADS = [
    ("squeezenet", 64, {}),
    pytest.param("inception_v3", 75, {"auxiliary": "none"}, marks=pytest.mark.slow),
    pytest.param(
        "googlenet", 64, {"variant": "torchvision", "auxiliary": False}, marks=pytest.mark.slow
    ),
    ("alexnet", 64, {"fc_width": 256}),
]


@pytest.mark.parametrize("name,size,options", SMALL_HEADS, ids=lambda value: str(value))
def test_the_loss_starts_within_one_percent_of_the_logarithm_of_the_classes(name, size, options):
    model = models.create(name, num_classes=1000, **options)
    images = jax.random.normal(jax.random.key(1), (8, size, size, 3))

    def loss(key):
        variables = model.init(key, images[:1])
        logits, _ = model.apply(
            variables, images, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        # All labels alike: eight of a thousand would be left to chance.
        return losses.create(label_smoothing=1.0, auxiliary_weight=0.0)(
            logits, np.zeros(8, int)
        ).mean()

    value = float(compiler.jit(loss, once=True)(jax.random.key(0)))
    assert value == pytest.approx(np.log(1000), rel=0.01)
