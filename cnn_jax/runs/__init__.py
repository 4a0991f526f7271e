"""What a run leaves on disk, and how to read it back."""

from cnn_jax.runs.open import load_run, load_runs
from cnn_jax.runs.run import Run

__all__ = ["Run", "load_run", "load_runs"]
