"""A run that is killed at any moment, also in mid checkpoint, ends as if nobody had touched it."""

import pytest
from rich.console import Console

from cnn_jax.bench.kill_test import kill_test


@pytest.mark.parametrize("kills", [2, pytest.param(24, marks=pytest.mark.slow)])
def test_runs_killed_at_any_moment_end_byte_for_byte_like_the_undisturbed_one(kills, tmp_path):
    killed = kill_test(kills, tmp_path / "runs", Console())
    assert killed.kills == kills
    assert killed.while_saving >= kills // 4, "too few kills hit a checkpoint half written"
