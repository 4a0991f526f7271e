"""Batch statistics that are measured anew are the means over the batches, by NumPy."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.evaluation.batch_stats import reestimate
from cnn_jax.models.layers import BatchNorm
from cnn_jax.training import compiler

PRECISE = compiler.Jit(with_precision=compiler.precision(matmul="float32"))


class Normalized(nn.Module):
    momentum: float
    group_size: int | None = None

    @nn.compact
    def __call__(self, images, train=False):
        return BatchNorm(self.group_size, self.momentum, name="bn")(images, train).mean((1, 2))


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    images = rng.normal(2.0, 3.0, (5, 6, 4, 4, 3)).astype(np.float32)
    return [(batch, jax.random.key(i)) for i, batch in enumerate(images)]


@pytest.mark.parametrize("momentum", [0.9, 0.9997, 0.0])
@pytest.mark.parametrize("group_size", [None, 3])
def test_they_are_the_means_over_the_batches_whatever_the_momentum(batches, momentum, group_size):
    model = Normalized(momentum, group_size)
    variables = model.init(jax.random.key(0), batches[0][0])
    found = reestimate(model, variables, iter(batches), PRECISE)["batch_stats"]["bn"]
    rows = np.stack([images for images, _ in batches]).reshape(-1, (group_size or 6) * 16, 3)
    np.testing.assert_allclose(found["mean"], rows.mean(1).mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["var"], rows.var(1, ddof=1).mean(0), rtol=1e-5)


def test_the_parameters_stay_as_they_are(batches):
    model = models.create("wide_resnet", num_classes=4, depth=10, width=1)
    variables = jax.jit(model.init)(jax.random.key(0), batches[0][0])
    found = reestimate(model, variables, batches, PRECISE)
    jax.tree.map(np.testing.assert_array_equal, found["params"], variables["params"])
    shapes = [jax.tree.map(np.shape, v["batch_stats"]) for v in (found, variables)]
    assert shapes[0] == shapes[1]
    before, after = (jax.tree.leaves(v["batch_stats"]) for v in (variables, found))
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


def test_a_network_without_batch_norm_is_refused(batches):
    model = models.create("squeezenet", num_classes=4, small_input=True)
    with pytest.raises(UserError, match="SqueezeNet has no batch norm"):
        reestimate(model, {"params": {}}, batches, PRECISE)
