"""A training that starts from weights, or whose layers are frozen."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from cnn_jax import config as configs
from cnn_jax.cluster.join import ProcessGroup
from cnn_jax.errors import UserError
from cnn_jax.optim import by_layer
from cnn_jax.optim.by_layer import Layers
from cnn_jax.training.plan import at_least_one

if TYPE_CHECKING:
    from cnn_jax.training.build import Parts


def started(parts: "Parts", layers: Callable[[], Layers], group: ProcessGroup) -> "Parts":
    """The parts of a config, with what these groups and fields say."""
    config, plan, others = parts.config, parts.plan, {"group": group}
    if "compression" in config:
        from cnn_jax.training import compress

        if config.init.weights is not None or config.optimizer.freeze:
            raise UserError("a compression says where to start, and trains all layers: leave "
                            "init.weights and optimizer.freeze out", 2)  # fmt: skip
        others |= {"optimizer": parts.optimizer, "steps_per_epoch": plan.steps_per_epoch}
        made = configs.call(compress.create, "compression", config.compression, **others)
        return replace(parts, **made._asdict())
    patterns, until = config.optimizer.freeze, config.optimizer.freeze_until
    if until is not None:
        unfreeze = at_least_one("optimizer.freeze_until", until, plan.steps_per_epoch)
        parts = replace(parts, plan=replace(plan, unfreeze=unfreeze))
    if patterns:
        frozen = layers().chosen(patterns, "optimizer.freeze")
        two = by_layer.phases(parts.model, parts.optimizer, frozen, parts.plan.unfreeze)
        parts = replace(parts, phases=two)
    if config.init.weights is None and list(config.init.layers) == ["*"]:
        return parts
    from cnn_jax.training import init

    others |= {"model": config.model, "preprocessing": parts.preprocessing, "network": layers}
    made = configs.call(init.create, "init", config.init, **others)
    return replace(parts, load_start=made.load, start_notes=made.notes)
