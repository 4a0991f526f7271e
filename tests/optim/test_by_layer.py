"""Layers by name: which are frozen, how fast the others learn, and what is left untouched."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.models.layers import BatchNorm
from cnn_jax.optim import by_layer, optimizers
from tests.optim.test_optimizers import MOMENTUM, RMSPROP, create

DEPTH = {"conv1": 0, "bn1": 0, "conv2/block1/conv1": 1, "conv2/block2/bn1": 1, "fc": 2}
LAYERS = by_layer.Layers(DEPTH, frozenset({"fc"}), {})
PARAMS = {
    "conv1": {"kernel": jnp.array([1.0, -0.0, 1e-42]), "bias": jnp.array([0.5])},
    "fc": {"kernel": jnp.array([2.0, 3.0, 4.0]), "bias": jnp.array([0.25])},
}
GRADIENT = jax.tree.map(jnp.ones_like, PARAMS)


@pytest.mark.parametrize(
    "patterns,found",
    [
        (["conv1"], {"conv1"}),
        (["conv2"], {"conv2/block1/conv1", "conv2/block2/bn1"}),
        (["*/bn1", "bn1"], {"bn1", "conv2/block2/bn1"}),
        (["classifier"], {"fc"}),
        (["!classifier"], set(DEPTH) - {"fc"}),
        (["*", "!conv2", "conv2/block2"], set(DEPTH) - {"conv2/block1/conv1"}),
        (["*", "!*"], set()),
        ([], set()),
    ],
)
def test_patterns_choose_layers_one_after_the_other(patterns, found):
    assert LAYERS.chosen(patterns, "optimizer.freeze") == found


def test_a_pattern_that_names_nothing_is_told_with_what_there_is():
    with pytest.raises(UserError, match="init.layers: no layer .* named 'conv9'; it has conv1, bn"):
        LAYERS.chosen(["conv1", "!conv9"], "init.layers")


@pytest.mark.parametrize(
    "name,options,side,classifier",
    [
        ("squeezenet", {}, 32, {"conv10"}),
        ("resnet", {"depth": 18}, 32, {"fc"}),
        ("wide_resnet", {"depth": 10, "width": 1}, 8, {"fc"}),
        ("googlenet", {}, 224, {"linear", *(f"auxiliary_{i}/classifier" for i in ("4a", "4d"))}),
    ],
)
def test_the_classifier_is_what_depends_on_the_number_of_classes(name, options, side, classifier):
    model = models.create(name, num_classes=64, **options)
    found = by_layer.layers_of(model, (side, side, 3))
    assert found.classifier == classifier


def test_parts_are_counted_in_the_order_of_computation_and_norms_go_with_the_part_before():
    model = models.create("resnet", num_classes=7, depth=18)
    depth = by_layer.layers_of(model, (32, 32, 3)).depth
    names = ("conv1", "bn1", "conv2/block1/conv1", "conv5/block2/bn2", "fc")
    assert [depth[name] for name in names] == [0, 0, 1, 4, 5]


def test_rates_decay_towards_the_first_layer_and_the_last_pattern_counts():
    found = by_layer.factors(LAYERS, [("*", 3.0), ("conv2", 0.5), ("conv2/block1", 2.0)], 0.5)
    assert found == {"conv1": 0.75, "bn1": 0.75, "conv2/block1/conv1": 1.0,
                     "conv2/block2/bn1": 0.25, "fc": 3.0}  # fmt: skip


@pytest.mark.parametrize(
    "change,told",
    [
        ({"layer_decay": 0.0}, "layer_decay 0.0 is not in"),
        ({"layer_decay": 1.5}, "layer_decay 1.5 is not in"),
        ({"rate_by_layer": ["fc"]}, "has 'fc': write pairs"),
        ({"rate_by_layer": [("fc", -1.0)]}, "-1.0 is not zero or a positive number"),
        ({"rate_by_layer": [("conv7", 1.0)]}, "no layer of the network is named 'conv7'"),
    ],
)
def test_rates_that_cannot_be_are_told(change, told):
    with pytest.raises(UserError, match=told):
        create(**MOMENTUM | change, layers=lambda: LAYERS)


@pytest.mark.parametrize("rule", [MOMENTUM, MOMENTUM | {"rate_inside": True}])
def test_a_factor_multiplies_the_rate_of_its_layer_with_both_forms_of_momentum(rule):
    plain = create(**rule)
    own = create(**rule, rate_by_layer=[("conv1", 0.5)], layers=lambda: LAYERS)
    for optimizer, factor in ((plain, 1.0), (own, 0.5)):
        updates, _ = optimizer.update(GRADIENT, optimizer.init(PARAMS), PARAMS)
        np.testing.assert_allclose(updates["conv1"]["kernel"], -0.1 * factor, rtol=1e-6)
        np.testing.assert_allclose(updates["fc"]["kernel"], -0.1, rtol=1e-6)


@pytest.mark.parametrize("rule", [MOMENTUM, RMSPROP])
def test_a_frozen_layer_has_no_state_and_keeps_every_byte(rule):
    settings = rule | {"weight_decay": 0.5, "clip_norm": 0.1, "bias_rate": 2.0}
    optimizer = create(**settings, freeze=["conv1"], layers=lambda: LAYERS)
    alone = create(**settings)
    state, expected = optimizer.init(PARAMS), alone.init({"fc": PARAMS["fc"]})
    assert jax.tree.structure(state) == jax.tree.structure(expected)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(GRADIENT, state, params)
        return optimizers.apply_updates(params, updates)

    after = step(PARAMS, state)
    for name, array in PARAMS["conv1"].items():
        assert np.asarray(after["conv1"][name]).tobytes() == np.asarray(array).tobytes()
    fc = {"fc": PARAMS["fc"]}
    updates, _ = alone.update({"fc": GRADIENT["fc"]}, expected, fc)
    np.testing.assert_allclose(
        after["fc"]["kernel"], (fc["fc"]["kernel"] + updates["fc"]["kernel"])
    )


@pytest.mark.parametrize("rule", [MOMENTUM, RMSPROP])
def test_the_state_of_a_layer_that_is_trained_later_waits(rule):
    optimizer = create([0.1, 0.2], **rule, weight_decay=0.5)
    held = by_layer.hold(optimizer, frozenset({"conv1"}))
    start = held.init(PARAMS)
    updates, state = held.update(GRADIENT, start, PARAMS)
    assert set(updates) == {"fc"}
    fresh, _ = optimizer.update(GRADIENT, start, PARAMS)
    later, _ = optimizer.update(GRADIENT, state, PARAMS)
    # As in a first step, but at the rate of the second.
    np.testing.assert_allclose(later["conv1"]["kernel"], 2 * fresh["conv1"]["kernel"], rtol=1e-6)
    assert not np.allclose(later["fc"]["kernel"], 2 * fresh["fc"]["kernel"])


class Norms(nn.Module):
    """Two batch norms."""

    @nn.compact
    def __call__(self, x, train=False):
        return BatchNorm(name="bn2")(BatchNorm(name="bn1")(x, train), train=train)


def test_frozen_norms_use_their_running_statistics_and_keep_them_while_others_train():
    images = jnp.arange(24.0).reshape(2, 2, 2, 3)
    variables = Norms().init(jax.random.key(0), images)
    both, one = (by_layer.FrozenNorms(Norms(), frozenset(n)) for n in (("bn1", "bn2"), ("bn1",)))
    output, changed = both.apply(variables, images, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(output, Norms().apply(variables, images), rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, changed["batch_stats"], variables["batch_stats"])
    _, changed = one.apply(variables, images, train=True, mutable=["batch_stats"])
    moved = jax.tree.map(
        lambda a, b: bool((a != b).any()), changed, {"batch_stats": variables["batch_stats"]}
    )
    assert moved["batch_stats"] == {"bn1": {"mean": False, "var": False},
                                    "bn2": {"mean": True, "var": True}}  # fmt: skip


def test_updates_of_all_parameters_are_added_as_optax_adds_them():
    updates = jax.tree.map(lambda p: p * 0.3, PARAMS)
    ours, theirs = (f(PARAMS, updates) for f in (optimizers.apply_updates, optax.apply_updates))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
