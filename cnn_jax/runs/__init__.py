"""What a run leaves on disk, and how to read it back."""

from cnn_jax.runs.run import Run, load_run, load_runs

__all__ = ["Run", "load_run", "load_runs"]
