"""What a run leaves on disk, and how to read it back."""

from cnn_jax.runs.load import Run, load_run, load_runs

__all__ = ["Run", "load_run", "load_runs"]
