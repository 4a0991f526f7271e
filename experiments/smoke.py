"""The variant `smoke` of the recipes: three steps in seconds on a CPU. It shows that they run."""

from ml_collections import ConfigDict


def on_digits(config: ConfigDict) -> None:
    """Trains on scikit-learn's 8x8 digits, in place of the recipe's small images."""
    config.data.update(name="digits", path=None, validation_size=0)
    a_few_steps(config, batch_size=32)


def on_noise(config: ConfigDict, size: int) -> None:
    """Trains on noise of `size` pixels, in place of the recipe's photographs."""
    config.data.update(name="fake:64,10", path=None)
    config.data.validation_size = min(config.data.validation_size, 20)
    config.view.train.size = config.view.evaluation.size = size
    a_few_steps(config, batch_size=8)


def a_few_steps(config: ConfigDict, batch_size: int) -> None:
    """Small batches, one program, one evaluation and one checkpoint."""
    if "bn_group_size" in config.model and config.model.bn_group_size:
        config.model.bn_group_size = batch_size // 2
    config.training.update(
        duration="3 steps",
        batch_size=batch_size,
        accumulate=min(config.training.accumulate, 2),
        checkpoint_every="3 steps",
        steps_per_dispatch=3,
    )
    config.evaluation.update(every="3 steps", batch_size=batch_size)
    config.optimizer.clip_norm = 1.0  # noise, or digits, at the paper's rate may lead anywhere
