"""Steps: a larger rate is smaller, and errors go where they matter least."""

import numpy as np
import pytest

from cnn_jax.compression import archive, calibrate, steps


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
