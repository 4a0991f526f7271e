"""The papers' update rules as optax transformations."""

from typing import Any

import jax
import optax

from cnn_jax import errors

DECAYS = ("all", "kernels")


def create(
    *,
    name: str,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    decay: str,
    rate_inside: bool,
    learning_rate: optax.Schedule,
) -> optax.GradientTransformation:
    """Momentum SGD with L2 in the gradient.

    Args:
      name: "momentum".
      nesterov: Nesterov's form.
      weight_decay: times the parameters, added to the gradient.
      decay: "all" parameters (fb.resnet.torch, Wide ResNet) or "kernels" only.
      rate_inside: v := m v + rate g (Caffe, He et al. 2016), else v := m v + g and a step of rate v
        (Torch). They differ where the rate changes.
      learning_rate: by the step.
    """
    if name != "momentum":
        raise errors.unknown("optimizer.name", name, ("momentum",))
    if decay not in DECAYS:
        raise errors.unknown("optimizer.decay", decay, DECAYS)
    if not 0 <= momentum < 1:
        raise errors.UserError(f"optimizer.momentum {momentum} is not in [0, 1)")
    mask = kernels if decay == "kernels" else None
    rate = optax.scale_by_learning_rate(learning_rate)
    velocity = optax.trace(momentum, nesterov)
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask),
        *([rate, velocity] if rate_inside else [velocity, rate]),
    )


def kernels(params: Any) -> Any:
    """True for the kernels of convolutions and linear layers, False for biases and batch norm."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
