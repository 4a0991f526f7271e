"""A stage that is a scan does what its blocks do one after the other."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from cnn_jax import models
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.residual_units import ResidualUnit, Stage
from cnn_jax.training import compiler


def noise(key, *shape):
    return jax.random.normal(jax.random.key(key), shape)


def single(**options):
    return ResidualUnit(kernels=(3,), inner=4, channels=4, **options)


def drawn(stage, x, *per_block):
    """Variables of a stage, without running it."""
    generator = np.random.default_rng(0)
    shapes = eval_shape(lambda: stage.init(jax.random.key(0), x, False, *per_block))
    return jax.tree.map(lambda leaf: generator.standard_normal(leaf.shape, np.float32) / 3, shapes)


def restacked(tree):
    """Variables of `unroll` in the form of the scan: block2, block3, ... stacked in `blocks`."""
    flat = flatten_dict(tree)
    stacked = {}
    for path, leaf in flat.items():
        # The blocks of a stage follow its name, where the tree is that of a network.
        depth = next((i for i, name in enumerate(path) if name.startswith("block")), None)
        if depth is None or path[depth] == "block1":
            stacked[path] = leaf
        elif path[depth] == "block2":
            before, after = path[:depth], path[depth + 1 :]
            count = sum(p[:depth] == before and p[depth + 1 :] == after for p in flat)
            leaves = [flat[*before, f"block{i}", *after] for i in range(2, count + 1)]
            stacked[*before, "blocks", *after] = np.stack(leaves)
    return unflatten_dict(stacked)


def outcome(model, variables, *arguments):
    """Gradients, outputs and new statistics of one training step."""

    def loss(params):
        y, updated = model.apply(
            {**variables, "params": params}, *arguments, mutable=["batch_stats"]
        )
        return jnp.square(y).mean(), {"outputs": y, "statistics": updated["batch_stats"]}

    step = compiler.jit(jax.grad(loss, has_aux=True), once=True)
    gradients, results = step(variables["params"])
    return {"gradients": gradients, **results}


TREES = ("gradients", "statistics")


def assert_agree(scanned, unrolled, tolerance):
    def compare(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(jnp.abs(b).max()))

    jax.tree.map(compare, scanned, {**unrolled, **{k: restacked(unrolled[k]) for k in TREES}})


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("count", [1, 2, 8, 9, 10])
def test_a_stage_of_nine_blocks_is_a_scan_of_all_but_the_first(count, unroll):
    stage = Stage(single, count, 1, unroll)
    x = jax.ShapeDtypeStruct((1, 2, 2, 4), jnp.float32)
    params = eval_shape(lambda x: stage.init(jax.random.key(0), x, False), x)["params"]
    if unroll or count < 9:
        assert sorted(params) == sorted(f"block{i}" for i in range(1, count + 1))
    else:
        assert set(params) == {"block1", "blocks"}
        one, others = (jax.tree.leaves(params[name]) for name in ("block1", "blocks"))
        assert [leaf.shape for leaf in others] == [(count - 1, *leaf.shape) for leaf in one]


def test_scanned_and_unrolled_stages_agree_in_outputs_statistics_and_gradients():
    x = noise(1, 2, 6, 6, 4)
    unrolled, scanned = (Stage(single, count=9, stride=2, unroll=u) for u in (True, False))
    variables = drawn(unrolled, x)
    stacked = {name: restacked(tree) for name, tree in variables.items()}
    assert stacked["params"]["blocks"]["conv1"]["kernel"].shape == (8, 3, 3, 4, 4)
    results = outcome(scanned, stacked, x, True)
    assert_agree(results, outcome(unrolled, variables, x, True), 1e-4)


def test_in_a_scanned_stage_each_unit_has_a_gate_of_its_own():
    stage = Stage(single, count=9, stride=1, unroll=False)
    x = noise(1, 2, 4, 4, 4)
    survival = jnp.linspace(0.9, 0.1, 9)
    variables = drawn(stage, x, survival)

    @functools.partial(compiler.jit, once=True)
    def step(key):
        def loss(params):
            y, updated = stage.apply(
                {**variables, "params": params},
                x,
                True,
                survival,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            return jnp.square(y).mean(), updated["batch_stats"]["blocks"]

        gradients, statistics = jax.grad(loss, has_aux=True)(variables["params"])
        kernels = gradients["blocks"]["conv1"]["kernel"]
        old = variables["batch_stats"]["blocks"]["bn1"]["mean"]
        return (kernels != 0).any((1, 2, 3, 4)), (statistics["bn1"]["mean"] != old).any(1)

    used, updated = map(np.array, zip(*(step(jax.random.key(i)) for i in range(200)), strict=True))
    np.testing.assert_array_equal(used, updated)
    np.testing.assert_allclose(used.mean(0), survival[1:], atol=0.12)
    # One draw for all would give 9 patterns at most.
    assert len({tuple(row) for row in used}) > 30


@pytest.mark.slow
def test_scanned_and_unrolled_resnet_56_agree_in_logits_statistics_and_gradients():
    x = noise(1, 16, 16, 16, 3)
    unrolled, scanned = (
        models.create("cifar_resnet", num_classes=10, depth=56, unroll=u) for u in (True, False)
    )
    variables = jax.jit(unrolled.init)(jax.random.key(0), x)
    stacked = {name: restacked(tree) for name, tree in variables.items()}
    assert stacked["params"]["conv4"]["blocks"]["conv1"]["kernel"].shape == (8, 3, 3, 64, 64)
    results = outcome(scanned, stacked, x, True)
    assert_agree(results, outcome(unrolled, variables, x, True), 1e-3)


class Doubling(nn.Module):
    """Doubles x, and adds what is the block's own."""

    stride: int

    def __call__(self, x, train, own):
        return 2 * x + own


@pytest.mark.parametrize("count,unroll", [(1, False), (3, False), (9, False), (10, True)])
def test_every_block_gets_its_own_entry_in_order(count, unroll):
    stage, own = Stage(Doubling, count, 1, unroll), np.arange(1.0, count + 1)
    expected = functools.reduce(lambda x, entry: 2 * x + entry, own, 5.0)
    assert float(stage.apply({}, jnp.float32(5), False, own)) == expected
