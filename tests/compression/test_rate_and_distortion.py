"""Steps and shared values: as small or as close as asked for, on networks of any family."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.compression import archive, calibrate, network, share, steps
from cnn_jax.errors import UserError


def layer_and_inputs(seed=0, outputs=24, columns=40, places=4000):
    """Weights [out, columns + 1] with the bias last, inputs [places, columns + 1], correlated."""
    generator = np.random.default_rng(seed)
    weights = generator.standard_normal((outputs, columns + 1))
    mixing = generator.standard_normal((columns, columns)) + 3 * generator.standard_normal(columns)
    inputs = np.maximum(generator.standard_normal((places, columns)) @ mixing, 0)
    inputs = np.concatenate([inputs, np.ones((places, 1))], 1)
    moments = inputs.T @ inputs / places
    return weights, inputs, calibrate.Sensitivity(moments[None], np.ones(outputs))


def distortion(weights, found, bias, inputs):
    after = np.concatenate([found.values(), bias[:, None]], 1)
    return np.square((after - weights) @ inputs.T).mean()


def test_errors_are_taken_back_by_the_columns_behind():
    weights, inputs, layer = layer_and_inputs()
    found, bias = steps.quantize(weights[:, :-1], weights[:, -1], layer, 1e-2)
    plain = archive.Steps(np.rint(weights[:, :-1] / found.step).astype(int), found.step)
    assert distortion(weights, found, bias, inputs) < 0.5 * distortion(
        weights, plain, weights[:, -1], inputs
    )


def test_a_larger_rate_is_smaller_and_further_away():
    weights, inputs, layer = layer_and_inputs()
    bits, errors = [], []
    for rate in (1e-4, 1e-3, 1e-2, 1e-1):
        found, bias = steps.quantize(weights[:, :-1], weights[:, -1], layer, rate)
        counts = np.unique(found.symbols, return_counts=True)[1] / found.symbols.size
        bits.append(-(counts * np.log2(counts)).sum())
        errors.append(distortion(weights, found, bias, inputs))
    assert bits == sorted(bits, reverse=True) and errors == sorted(errors)
    assert errors[0] < 0.01 * errors[-1]


def test_outputs_that_matter_more_get_the_smaller_errors():
    weights, inputs, layer = layer_and_inputs()
    gain = np.where(np.arange(24) < 12, 1.0, 30.0)
    found, bias = steps.quantize(weights[:, :-1], weights[:, -1], layer._replace(gain=gain), 3e-1)
    after = np.concatenate([found.values(), bias[:, None]], 1)
    errors = np.square((after - weights) @ inputs.T).mean(1)
    assert errors[12:].mean() < 0.8 * errors[:12].mean()


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 7)])
def test_one_weight_a_column_a_row_and_zeros_work(shape):
    layer = calibrate.Sensitivity(np.eye(shape[1] + 1)[None], np.ones(shape[0]))
    for value in (0.0, 0.7):
        found, bias = steps.quantize(np.full(shape, value), None, layer, 1e-6)
        assert bias is None
        np.testing.assert_allclose(found.values(), value, atol=1e-2)


@pytest.mark.parametrize("initialization", share.INITIALIZATIONS)
@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_shared_values_are_few_near_and_keep_the_zeros(initialization, bits):
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((30, 40)) * (generator.random((30, 40)) < 0.4)
    shared = share.share(weights, bits, initialization)
    values = shared.values()
    assert len(np.unique(values)) <= 2**bits
    np.testing.assert_array_equal(values == 0, weights == 0)
    spread = np.square(weights[weights != 0]).mean()
    assert np.square(values - weights).sum() / (weights != 0).sum() < spread / 2 ** (1.5 * bits - 2)
    again = share.share(weights, bits, initialization)
    np.testing.assert_array_equal(again.values(), values)


def test_the_centroids_are_the_means_of_their_weights():
    weights = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    values = share.share(weights, 4).values()
    for value in np.unique(values):
        assert weights[values == value].mean() == pytest.approx(value, abs=1e-5)


def test_share_takes_empty_layers_and_one_weight_and_refuses_the_rest():
    np.testing.assert_array_equal(share.share(np.zeros((3, 3)), 4).values(), np.zeros((3, 3)))
    np.testing.assert_array_equal(share.share(np.float32([2.5]), 4).values(), np.float32([2.5]))
    with pytest.raises(UserError, match="did you mean 'linear'"):
        share.share(np.ones(3), 4, "linar")
    with pytest.raises(UserError, match="1 to 16 bits, not 0"):
        share.share(np.ones(3), 0)


def test_weights_that_share_a_value_take_the_sum_of_their_gradients_and_pruned_ones_none():
    kernel = np.float32([[0, 1, 2], [2, 2, 1]])
    tied = share.tied(bits=2)
    params = {"fc": {"kernel": kernel, "bias": np.zeros(3)}}
    state = tied.init(params)
    codes = {"fc": {"kernel": share.codes(kernel), "bias": np.int32(0)}}
    gradient = {"fc": {"kernel": np.float32([[1, 2, 3], [4, 5, 6]]), "bias": np.ones(3)}}
    updates, _ = tied.update(gradient, state.replace(codes=codes), params)
    np.testing.assert_array_equal(updates["fc"]["kernel"], [[0, 8, 12], [12, 12, 8]])
    np.testing.assert_array_equal(updates["fc"]["bias"], np.ones(3))


MODELS = {
    "squeezenet": {"small_input": True, "base_e": 16, "incr_e": 16},
    "cifar_resnet": {"depth": 8},
}


@pytest.fixture(scope="module", params=MODELS)
def small(request):
    """A network with random weights and images for it."""
    model = models.create(request.param, num_classes=10, **MODELS[request.param])
    images = np.random.default_rng(0).standard_normal((16, 32, 32, 3), np.float32)
    variables = jax.tree.map(np.asarray, model.init(jax.random.key(0), images[:2]))
    return model, variables, images


def test_lossless_arrays_of_any_network_are_exact(small, tmp_path):
    _, variables, _ = small
    archive.write(tmp_path / "a", network.lossless(variables), {})
    read = archive.read(tmp_path / "a").variables
    assert jax.tree.structure(read) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, read, variables)


def test_images_without_labels_bring_the_logits_nearer_at_the_same_size(small, tmp_path):
    model, variables, images = small

    def far(arrays, name):
        size = archive.write(tmp_path / name, arrays, {})
        read = archive.read(tmp_path / name).variables
        assert jax.tree.structure(read) == jax.tree.structure(variables)
        before, after = (model.apply(v, images[8:], train=False) for v in (variables, read))
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
    params = jax.tree.map(np.asarray, Odd().init(jax.random.key(0), images)["params"])
    calibration = calibrate.Calibration(Odd(), {"params": params}, [images])
    layer, _ = calibration.layer("params/grouped/kernel", {"params": params})
    assert layer.moments.shape == (2, 2 * 9 + 1, 2 * 9 + 1)
    archive.write(tmp_path / "a", network.in_steps({"params": params}, 1e-7, calibration), {})
    read = archive.read(tmp_path / "a").variables["params"]
    assert jax.tree.structure(read) == jax.tree.structure(params)
    for layer in params:
        before, after = params[layer]["kernel"], read[layer]["kernel"]
        np.testing.assert_allclose(after, before, atol=0.1 * np.abs(before).max())
    before, after = (Odd().apply({"params": p}, images) for p in (params, read))
    np.testing.assert_allclose(after, before, atol=0.02)


def test_scanned_stages_cannot_be_calibrated_and_say_so():
    params = {"conv2": {"rest": {"kernel": np.zeros((8, 3, 3, 4, 4), np.float32)}}}
    with pytest.raises(UserError, match="conv2/rest/kernel holds several blocks.*unroll=True"):
        calibrate.Calibration(Odd(), {"params": params}, [np.zeros((1, 8, 8, 4))])
