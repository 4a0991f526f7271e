"""The numbers of a run do not depend on how somebody has set JAX."""

import contextlib
import shutil

import jax
import numpy as np
import pytest

import cnn_jax
from cnn_jax.bench.kill_jobs import compare
from cnn_jax.errors import UserError
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.runs.environment import JAX_CONFIG, pinned_jax

OTHERS = {
    "jax_default_matmul_precision": "bfloat16",
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_softmax_custom_jvp": False,
    "jax_disable_jit": True,
}


@pytest.fixture
def set_otherwise():
    """JAX, with each setting that numbers depend on other than ours."""
    with contextlib.ExitStack() as settings:
        for name, value in OTHERS.items():
            settings.enter_context(getattr(jax, name.removeprefix("jax_"))(value))
        yield


def test_every_setting_is_pinned_and_then_as_it_was(set_otherwise):
    assert OTHERS.keys() == JAX_CONFIG.keys()
    with pinned_jax():
        assert {name: getattr(jax.config, name) for name in OTHERS} == JAX_CONFIG
    assert jax.config.jax_enable_x64 and jax.config.jax_default_prng_impl == "rbg"


def test_a_run_that_goes_on_where_jax_is_set_otherwise_ends_bit_for_bit_the_same(
    tiny_config, tiny_run, tmp_path, set_otherwise
):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    (run / "status.json").unlink()
    shutil.rmtree(run / "checkpoints" / "00000060")
    cnn_jax.train(tiny_config, run)
    compare(tiny_run, run)


def test_predictions_and_evaluations_are_the_same_where_jax_is_set_otherwise(tiny_run, request):
    run, images = cnn_jax.load_run(tiny_run), np.arange(128, dtype=np.uint8).reshape(2, 8, 8, 1)
    before = run.predict(images), cnn_jax.evaluate(run, split="test")
    request.getfixturevalue("set_otherwise")
    after = cnn_jax.load_run(tiny_run).predict(images), cnn_jax.evaluate(tiny_run, split="test")
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1] == after[1]


def test_an_offset_of_all_seeds_is_refused():
    jax.config.update("jax_random_seed_offset", 1)
    try:
        with pytest.raises(UserError, match="JAX_RANDOM_SEED_OFFSET"), pinned_jax():
            pass
    finally:
        jax.config.update("jax_random_seed_offset", 0)


def test_a_file_where_checkpoints_would_be_is_not_a_run_s(tiny_config, tmp_path):
    (tmp_path / "checkpoints").write_text("mine")
    with pytest.raises(UserError, match="has files that are not a run's"):
        RunDirectory(tmp_path, tiny_config)
