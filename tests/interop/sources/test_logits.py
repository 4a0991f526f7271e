"""Weights of every source, read from a file of it, give the logits of the source's own network."""

import jax
import numpy as np
import pytest

pytest.importorskip("torch")

from cnn_jax import models
from cnn_jax.interop import read
from tests.conftest import ROOT
from tests.interop.sources import cases, keras_cases, other_cases, renamed_cases

CASES = (*cases.CASES, *other_cases.CASES, *keras_cases.CASES, *renamed_cases.CASES)


def difference(case, folder):
    """The largest difference of the logits, relative to the largest logit; and what was read."""
    path, images, expected = case.make(folder)
    found = read.trained(path)
    model = models.create(**found.model)
    ours = np.asarray(jax.jit(model.apply)(found.variables, images))
    return np.abs(ours - expected).max() / np.abs(expected).max(), found


def parameter(case):
    """The case as a parameter of a test: by name, slow where it is."""
    name = f"{case.source} {case.network}"
    return pytest.param(case, id=name, marks=[pytest.mark.slow] if case.is_slow else [])


@pytest.mark.parametrize("case", [parameter(case) for case in CASES])
def test_logits_are_those_of_the_source(case, torch, tmp_path):
    if case.needs:
        pytest.importorskip(case.needs)
    found, trained = difference(case, tmp_path)
    assert trained.source == case.source
    assert found < 1e-4


def test_the_docs_have_a_row_for_each():
    text = (ROOT / "docs/weights.md").read_text()
    assert not [case for case in CASES if f"| {case.source} | {case.network} |" not in text]
