"""Blocks that are computed again for the gradient take less memory and change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.training import compiler

NETWORKS = [
    ("cifar_resnet", {"depth": 14, "bn_group_size": 8}),
    ("cifar_resnet", {"depth": 56, "death_rate": 0.5}),  # scanned, with stochastic depth
    ("wide_resnet", {"depth": 16, "width": 1, "dropout": 0.3}),
]


def gradient(name, options, remat):
    """The compiled gradient of a training step, and its arguments."""
    model = models.create(name, num_classes=10, remat=remat, **options)
    images = jax.random.normal(jax.random.key(0), (16, 16, 16, 3))
    variables = compiler.jit(model.init, once=True)(jax.random.key(1), images)

    def loss(params):
        logits, updates = model.apply(
            {**variables, "params": params},
            images,
            train=True,
            rngs={"dropout": jax.random.key(2)},
            mutable=["batch_stats"],
        )
        return jnp.square(logits).mean(), updates

    # The barriers that keep remat alive, and else compiled fast: memory does not depend on LLVM.
    options = {**compiler.supported("cpu", False), **compiler.supported("cpu", True)}
    program = jax.jit(jax.grad(loss, has_aux=True), compiler_options=options)
    return program.lower(variables["params"]).compile(), variables["params"]


@pytest.mark.parametrize("name,options", NETWORKS)
def test_remat_takes_less_memory_and_gives_the_same_gradient(name, options):
    plain, params = gradient(name, options, remat=False)
    remat, _ = gradient(name, options, remat=True)
    sizes = [program.memory_analysis().temp_size_in_bytes for program in (plain, remat)]
    assert sizes[1] < 0.8 * sizes[0]
    (expected, expected_stats), (found, stats) = plain(params), remat(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max()),
        (expected, expected_stats),
        (found, stats),
    )
