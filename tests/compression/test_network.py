"""Networks of any family: exact, or nearer to their logits where images are given."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.compression import archive, calibrate, network
from cnn_jax.errors import UserError
from cnn_jax.training import compiler


class Small(nn.Module):
    """Two convolutions and a linear layer."""

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(16, (3, 3), strides=2, padding=1, name="conv1")(images))
        x = nn.relu(nn.Conv(32, (3, 3), strides=2, padding=1, name="conv2")(x))
        return nn.Dense(10, name="fc")(x.mean((1, 2)))


MODELS = {
    "squeezenet": {"small_input": True, "base_e": 16, "incr_e": 16},
    "cifar_resnet": {"depth": 8},
    "lenet": {"variant": "5"},
}


@pytest.fixture(
    scope="module",
    params=["small", *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS)],
)
def small(request):
    """A network with random weights and images for it."""
    name = request.param
    model = models.create(name, num_classes=10, **MODELS[name]) if name in MODELS else Small()
    images = np.random.default_rng(0).standard_normal((16, 16, 16, 3), np.float32)
    variables = jax.tree.map(
        np.asarray, compiler.jit(model.init, once=True)(jax.random.key(0), images[:2])
    )
    return model, variables, images


def test_lossless_arrays_of_any_network_are_exact(small, tmp_path):
    _, variables, _ = small
    archive.write(tmp_path / "a", network.lossless(variables), {})
    read = archive.read(tmp_path / "a").variables
    assert jax.tree.structure(read) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, read, variables)


def test_images_without_labels_bring_the_logits_nearer_at_the_same_size(small, tmp_path):
    model, variables, images = small

    forward = compiler.jit(lambda v: model.apply(v, images[8:], train=False), once=True)

    def far(arrays, name):
        size = archive.write(tmp_path / name, arrays, {})
        read = archive.read(tmp_path / name).variables
        assert jax.tree.structure(read) == jax.tree.structure(variables)
        before, after = forward(variables), forward(read)
        return size, float(jnp.square(after - before).mean())

    calibration = calibrate.Calibration(model, variables, [images[:4], images[4:8]])
    without = [far(network.in_steps(variables, rate), "b") for rate in (1e-7, 1e-5, 1e-3)]
    size, error = far(network.in_steps(variables, 1e-4, calibration), "a")
    sizes, errors = np.log(np.array(without).T)
    assert sizes[-1] < np.log(size) < sizes[0]
    assert np.log(error) < np.interp(np.log(size), sizes[::-1], errors[::-1])


def test_moments_are_those_of_what_the_layer_sees(small):
    model, variables, images = small
    calibration = calibrate.Calibration(model, variables, [images])
    path = calibration.paths[0]
    layer, targets = calibration.layer(path, variables)
    name = path.split("/")[1:-1]
    flat = network.flatten(variables)
    kernel = flat[path].transpose(3, 2, 0, 1).reshape(flat[path].shape[-1], -1)
    bias = flat.get("/".join(["params", *name, "bias"]), np.zeros(len(kernel)))
    weights = np.concatenate([kernel, bias[:, None]], 1)
    # What the layer gave is the product of its weights with what it saw.
    np.testing.assert_allclose(targets[0], layer.moments[0] @ weights.T, rtol=1e-3, atol=1e-3)


class Odd(nn.Module):
    """Groups, and a head that evaluation does not pass."""

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Conv(8, (3, 3), feature_group_count=2, padding=1, name="grouped")(images)
        if train or self.is_initializing():
            self.sow("aux_logits", "auxiliary", nn.Dense(3, name="head")(x.mean((1, 2))))
        return nn.Dense(5, name="fc")(nn.relu(x).mean((1, 2)))


def test_groups_and_heads_that_no_image_passes_are_compressed_too(tmp_path):
    images = np.random.default_rng(0).standard_normal((16, 8, 8, 4), np.float32)
    made = compiler.jit(Odd().init, once=True)(jax.random.key(0), images)
    params = jax.tree.map(np.asarray, made["params"])
    calibration = calibrate.Calibration(Odd(), {"params": params}, [images])
    layer, _ = calibration.layer("params/grouped/kernel", {"params": params})
    assert layer.moments.shape == (2, 2 * 9 + 1, 2 * 9 + 1)
    archive.write(tmp_path / "a", network.in_steps({"params": params}, 1e-7, calibration), {})
    read = archive.read(tmp_path / "a").variables["params"]
    assert jax.tree.structure(read) == jax.tree.structure(params)
    for layer in params:
        before, after = params[layer]["kernel"], read[layer]["kernel"]
        np.testing.assert_allclose(after, before, atol=0.1 * np.abs(before).max())
    apply = compiler.jit(lambda params: Odd().apply({"params": params}, images), once=True)
    before, after = apply(params), apply(read)
    np.testing.assert_allclose(after, before, atol=0.02)


def test_scanned_stages_cannot_be_calibrated_and_say_so():
    params = {"conv2": {"rest": {"kernel": np.zeros((8, 3, 3, 4, 4), np.float32)}}}
    with pytest.raises(UserError, match="conv2/rest/kernel holds several blocks.*unroll=True"):
        calibrate.Calibration(Odd(), {"params": params}, [np.zeros((1, 8, 8, 4))])
