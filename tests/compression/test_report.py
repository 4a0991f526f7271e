"""The table of a compressed network counts what is there."""

import numpy as np
import pytest

from cnn_jax.compression import archive, report, share


def test_nothing_is_pruned_where_no_weight_is_0():
    weights = np.random.default_rng(0).standard_normal((3, 3, 8, 16)).astype(np.float32)
    shared = share.share(weights, 3)
    assert (shared.symbols == 0).any(), "the symbol of 0 stands for another value here"
    (row,) = report.rows({"params/conv/kernel": shared})
    assert (row.layer, row.weights, row.kept, row.entries) == ("conv", 1152, 1152, 1152)
    assert row.codes == 3 * 1152


@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
def test_what_is_kept_is_not_0_in_steps_and_in_codebooks(density):
    generator = np.random.default_rng(0)
    mask = generator.random((20, 30)) < density
    symbols = mask * generator.integers(1, 5, mask.shape) * generator.choice([-1, 1], mask.shape)
    steps = archive.Steps(symbols, np.float32(0.5))
    for array in (steps, archive.codebook(steps.values())):
        (row,) = report.rows({"params/fc/kernel": array, "params/fc/bias": array})
        assert row.kept == mask.sum() <= row.entries
        assert report.total([row, row]).kept == 2 * row.kept
