"""Networks for ImageNet with other units than the original ones, as published ones have them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from cnn_jax.models.residual_units import ResidualUnit
from cnn_jax.training import compiler
from experiments.resnet import published
from tests.models.test_resnet import SMALL, counts, create, names_of


def test_other_orders_have_the_names_of_their_table():
    original = names_of(create(depth=50))
    moved = names_of(create(depth=50, order="BN after addition"))
    # The last batch norm moves behind the addition, and keeps its name; projections have none.
    assert original - moved == {f"conv{stage}/block1/shortcut_bn" for stage in (2, 3, 4, 5)}
    assert moved <= original
    named = create(depth=50, order="full pre-activation")
    assert names_of(named) == names_of(create(depth=50, preactivation=True))


def test_parameters_of_the_networks_that_fb_resnet_torch_published():
    # torchvision's, without the batch norms of the projections: two parameters for each channel.
    for depth, options, channels in [
        (18, {"shortcut_bn": False}, 128 + 256 + 512),
        (34, {"shortcut_bn": False}, 128 + 256 + 512),
        (50, {"order": "BN after addition"}, 256 + 512 + 1024 + 2048),
    ]:
        ours = counts(create(depth=depth, stride_in="3x3", **options))[0]
        assert ours == published.TORCHVISION[f"resnet{depth}"]["parameters"] - 2 * channels


def test_survival_falls_linearly_over_all_units_of_all_stages():
    model = create(death_rate=0.5, **SMALL)

    order = []

    @functools.partial(compiler.jit, once=True)
    def survivals():
        seen = {}

        def note(call, arguments, keywords, context):
            if isinstance(context.module, ResidualUnit) and context.method_name == "__call__":
                seen["/".join(context.module.path)] = arguments[2]
            return call(*arguments, **keywords)

        with nn.intercept_methods(note):
            model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
        order.extend(seen)
        return seen

    seen = survivals()
    units = [f"conv{stage}/block{i}" for stage in (2, 3, 4, 5) for i in (1, 2)]
    assert order == units
    expected = [1 - 0.5 * i / 8 for i in range(1, 9)]
    assert [float(seen[unit]) for unit in units] == pytest.approx(expected)
