"""The variant `smoke` of the recipes: three steps in seconds on a CPU. It shows that they run."""

from ml_collections import ConfigDict


def on_digits(config: ConfigDict) -> None:
    """Trains on scikit-learn's 8x8 digits, in place of the recipe's small images."""
    config.data.update(name="digits", path=None, validation_size=0)
    a_few_steps(config)


def a_few_steps(config: ConfigDict) -> None:
    """One dispatch, one evaluation and one checkpoint."""
    config.training.update(duration="3 steps", checkpoint_every="3 steps", steps_per_dispatch=3)
    config.evaluation.every = "3 steps"
