"""The classic convolutional networks in JAX, as their papers describe them.

run = cnn_jax.load_run("runs/quickstart")
run.config, run.history, run.model, run.variables("best"), run.predict(images)
"""

from cnn_jax.config import load_config
from cnn_jax.runs import load_run, load_runs

__all__ = ["load_config", "load_run", "load_runs"]
