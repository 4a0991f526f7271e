"""Options whose defaults are the papers', where well-known ports have others."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from cnn_jax import models
from cnn_jax.interop import torchvision
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.layers import BatchNorm

NORMALISED = [
    ("cifar_resnet", 32, {"depth": 29, "block": "bottleneck", "shortcut": "C"}),
    ("cifar_resnet", 32, {"depth": 8, "order": "full pre-activation"}),
    ("resnet", 64, {"depth": 50}),
    ("resnet", 64, {"depth": 18, "preactivation": True}),
    ("wide_resnet", 32, {"depth": 10, "width": 2}),
    ("googlenet", 64, {"variant": "torchvision"}),
    ("inception_v3", 75, {}),
    ("bn_inception", 64, {}),
    ("vgg", 32, {"depth": 11, "batch_norm": True}),
]


def batch_norms(name, size, **options):
    """Every batch norm of a network with groups of 4 images, in order."""
    return found_in(models.create(name, num_classes=10, bn_group_size=4, **options), size)


@functools.cache
def found_in(model, size):
    found = []

    def note(call, arguments, keywords, context):
        if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
            found.append(context.module)
        return call(*arguments, **keywords)

    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    with nn.intercept_methods(note):
        eval_shape(model.init, jax.random.key(0), image)
    return found


@pytest.mark.parametrize(("name", "size", "options"), NORMALISED)
def test_the_group_size_reaches_every_batch_norm(name, size, options):
    found = batch_norms(name, size, **options)
    assert len(found) > 5
    assert {norm.group_size for norm in found} == {4}


# Torch's momentum of 0.1 is 0.9 here. The released Inception-v3 has its own.
@pytest.mark.parametrize(("name", "size", "options"), NORMALISED)
def test_epsilon_momentum_and_gamma_of_the_batch_norms(name, size, options):
    others = {"bn_inception": (0.001, 0.9997, True), "googlenet": (0.001, 0.9, True)}
    others["inception_v3"] = (0.001, 0.9997, False)
    found = batch_norms(name, size, **options)
    expected = others.get(name, (1e-5, 0.9, True))
    assert {(norm.epsilon, norm.momentum, norm.use_scale) for norm in found} == {expected}


def test_batch_norms_of_torchvisions_inception_v3_have_torchs_momentum():
    found = batch_norms(size=75, **torchvision.options("inception_v3"))
    assert {(norm.epsilon, norm.momentum, norm.use_scale) for norm in found} == {(0.001, 0.9, True)}


@pytest.mark.parametrize(
    ("name", "paper", "theirs"), [("inception_v3", 0.2, 0.5), ("googlenet", 0.4, 0.2)]
)
def test_dropout_is_the_papers_and_torchvisions_another(name, paper, theirs):
    assert models.options(name)["dropout"] == paper
    assert torchvision.module(name).dropout == theirs


def test_gamma_starts_uniform_in_wide_resnet_and_at_one_elsewhere():
    starts = {
        (name, norm.scale_init)
        for name, size, options in NORMALISED
        for norm in batch_norms(name, size, **options)
    }
    uniform = {name for name, start in starts if start is not nn.initializers.ones}
    assert uniform == {"wide_resnet"}
