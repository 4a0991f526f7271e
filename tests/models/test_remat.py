"""Blocks that are computed again for the gradient take less memory and change nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.residual_units import ResidualUnit, Stage
from cnn_jax.models.wide_resnet import WideBlock
from cnn_jax.training import compiler

UNIT = functools.partial(ResidualUnit, kernels=(3, 3), inner=16, channels=16, bn_group_size=8)
WIDE = functools.partial(
    WideBlock, (3, 3), 16, dropout=0.3, gamma="ones", bn_group_size=None, dtype="float32"
)
STAGES = {
    "unrolled": (Stage(UNIT, 3, 1, False), ()),
    "scanned, with stochastic depth": (Stage(UNIT, 9, 1, False), (np.linspace(0.9, 0.5, 9),)),
    "with dropout": (Stage(WIDE, 3, 1, False), ()),
}


def gradient(stage, per_block):
    """The compiled gradient of a training step, and its arguments."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((16, 16, 16, 16), np.float32)
    shapes = eval_shape(lambda x: stage.init(jax.random.key(0), x, False, *per_block), images)
    variables = jax.tree.map(
        lambda leaf: 0.3 * generator.standard_normal(leaf.shape, np.float32), shapes
    )

    def loss(params):
        y, updates = stage.apply(
            {**variables, "params": params},
            images,
            True,
            *per_block,
            rngs={"dropout": jax.random.key(2)},
            mutable=["batch_stats"],
        )
        return jnp.square(y).mean(), updates

    # The barriers that keep remat alive, and else compiled fast: memory does not depend on LLVM.
    options = {**compiler.supported("cpu", False), **compiler.supported("cpu", True)}
    program = jax.jit(jax.grad(loss, has_aux=True), compiler_options=options)
    return program.lower(variables["params"]).compile(), variables["params"]


@pytest.mark.parametrize("name", STAGES)
def test_remat_takes_less_memory_and_gives_the_same_gradient(name):
    stage, per_block = STAGES[name]
    plain, params = gradient(stage, per_block)
    remat, _ = gradient(stage.clone(remat=True), per_block)
    sizes = [program.memory_analysis().temp_size_in_bytes for program in (plain, remat)]
    assert sizes[1] < 0.8 * sizes[0]
    (expected, expected_stats), (found, stats) = plain(params), remat(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max()),
        (expected, expected_stats),
        (found, stats),
    )


@pytest.mark.parametrize(
    "name,depth,blocks", [("cifar_resnet", 8, 3), ("wide_resnet", 10, 3), ("resnet", 18, 8)]
)
def test_a_network_computes_each_of_its_blocks_again(name, depth, blocks):
    model = models.create(name, num_classes=10, depth=depth, remat=True)
    image = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = eval_shape(lambda x: model.init(jax.random.key(0), x), image)
    jaxpr = jax.make_jaxpr(lambda v, x: model.apply(v, x))(variables, image)
    assert [str(equation.primitive) for equation in jaxpr.eqns].count("remat2") == blocks
