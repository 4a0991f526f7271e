"""A run that is killed at any moment, also in mid checkpoint, ends as if nobody had touched it.

The quick suite kills once: in mid checkpoint in training/test_failures.py, and a sweep in the
middle of a run in sweeps/test_killed_sweep.py.
"""

import pytest
from rich.console import Console

from cnn_jax.bench.kill_test import kill_test


@pytest.mark.slow
def test_runs_killed_at_any_moment_end_byte_for_byte_like_the_undisturbed_one(tmp_path):
    killed = kill_test(12, tmp_path / "runs", Console())
    assert killed.kills == 12
    assert killed.while_saving >= 2, "too few kills hit a checkpoint half written"
