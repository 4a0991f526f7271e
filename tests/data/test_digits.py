"""The digits and their splits are scikit-learn's, read without importing it."""

import subprocess
import sys

import numpy as np
import pytest

from cnn_jax.data import digits
from cnn_jax.data.dataset import stratified
from tests.conftest import ROOT


def test_the_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    bunch, splits = load_digits(), digits.load(None, None).splits
    _, test = stratified(bunch.target, 360, digits.SPLIT_SEED)
    np.testing.assert_array_equal(splits["test"].labels, bunch.target[test])
    images = np.round(bunch.images[test] * (255 / 16))
    np.testing.assert_array_equal(splits["test"].images[..., 0], images)


@pytest.mark.parametrize("seed", range(20))
def test_stratified_splits_are_those_of_scikit_learn(seed):
    from sklearn.model_selection import train_test_split

    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 30))
    labels = rng.permutation(
        np.append(np.repeat(np.arange(classes), 2), rng.integers(0, classes, 500))
    )
    size = int(rng.integers(classes, len(labels) - classes + 1))
    indices = np.arange(len(labels))
    theirs = train_test_split(indices, test_size=size, stratify=labels, random_state=seed)
    for ours, other in zip(stratified(labels, size, seed), theirs, strict=True):
        np.testing.assert_array_equal(ours, np.sort(other))


def test_reading_them_imports_no_scikit_learn():
    code = "import sys; from cnn_jax.data import digits; digits.load(None, None)"
    check = "assert not [name for name in sys.modules if name.startswith(('sklearn', 'scipy'))]"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], cwd=ROOT, check=True)
