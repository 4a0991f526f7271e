"""The papers' update rules as optax transformations."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import optax

from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.optim import plateau
from cnn_jax.optim.schedules import LearningRate

if TYPE_CHECKING:
    from cnn_jax.optim.by_layer import Layers

DECAYS = ("all", "kernels")


def create(
    *,
    name: str,
    weight_decay: float,
    decay: str,
    clip_norm: float | None,
    clips_decay: bool,
    bias_rate: float,
    freeze: Sequence[str],
    freeze_until: str | None,
    rate_by_layer: Sequence[tuple[str, float]],
    layer_decay: float,
    learning_rate: LearningRate,
    layers: Callable[[], "Layers"],
    **options,
) -> optax.GradientTransformation:
    """An update rule with L2 in the gradient.

    Args:
      name: of `RULES`; `options` are the arguments of that function below.
      weight_decay: times the parameters, added to the gradient.
      decay: "all" parameters (fb.resnet.torch, Wide ResNet) or "kernels" only.
      clip_norm: the most that the norm of the whole gradient may be (Szegedy et al. 2016: 2.0).
      clips_decay: the decay is added before this, as in TensorFlow, where it is part of the loss;
        False clips the gradient of the loss alone, as in PyTorch.
      bias_rate: times the rate, for the biases of convolutions and linear layers (Caffe's lr_mult:
        2.0 with `decay` "kernels" in its AlexNet and in the SqueezeNet generator), else 1.0.
      freeze, freeze_until: patterns of layers that get no update, and no state if for all steps.
      rate_by_layer, layer_decay: factors of the rate, see `by_layer.factors`.
      learning_rate: the rate at each step, and when it drops at a plateau.
      layers: gives those of the network.

    Raises:
      UserError: an unknown name, or a number out of its range.
    """
    check(name, decay, clip_norm)
    check_not_negative(weight_decay=weight_decay, bias_rate=bias_rate)
    rate = scaled(learning_rate, bias_rate, by_layers(layers, rate_by_layer, layer_decay))
    rule = configs.call(RULES[name], f"optimizer ({name})", configs.ConfigDict(options), rate=rate)
    added = [optax.add_decayed_weights(weight_decay, kernels if decay == "kernels" else None)]
    clipped = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
    optimizer = optax.chain(*(added + clipped if clips_decay else clipped + added), rule)
    return optimizer if freeze_until else trained_only(optimizer, layers, freeze)


def scaled(
    learning_rate: LearningRate, bias_rate: float, more: Sequence[optax.GradientTransformation]
) -> optax.GradientTransformation:
    """What multiplies by the learning rate and its factors."""
    return optax.chain(
        optax.scale_by_learning_rate(learning_rate),
        optax.masked(optax.scale(bias_rate), biases),
        *([plateau.scale_by_plateau(learning_rate.plateau)] if learning_rate.plateau else []),
        *more,
    )


def trained_only(
    optimizer: optax.GradientTransformation, layers: Callable[[], "Layers"], freeze: Sequence[str]
) -> optax.GradientTransformation:
    """The optimizer of the layers that are not frozen."""
    if not freeze:
        return optimizer
    from cnn_jax.optim import by_layer

    return by_layer.leave_out(optimizer, layers().chosen(freeze, "optimizer.freeze"))


def check(name: str, decay: str, clip_norm: float | None) -> None:
    """Raises `UserError` for an unknown word, or a norm that nothing can have."""
    if name not in RULES:
        raise errors.unknown("optimizer.name", name, RULES)
    if decay not in DECAYS:
        raise errors.unknown("optimizer.decay", decay, DECAYS)
    if clip_norm is not None and not clip_norm > 0:
        raise errors.UserError(f"optimizer.clip_norm {clip_norm} is neither positive nor None")


def by_layers(
    layers: Callable[[], "Layers"], rate_by_layer: Sequence[tuple[str, float]], layer_decay: float
) -> list[optax.GradientTransformation]:
    """What gives layers rates of their own; nothing where they have none, as in most recipes."""
    if not rate_by_layer and layer_decay == 1:
        return []
    from cnn_jax.optim import by_layer

    return [by_layer.scale_by_layer(by_layer.factors(layers(), rate_by_layer, layer_decay))]


def layers_of(model: Any, image_shape: tuple[int, int, int]) -> "Layers":
    """The layers by name, which most recipes do not ask for."""
    from cnn_jax.optim import by_layer

    return by_layer.layers_of(model, image_shape)


def apply_updates(params: Any, updates: Any) -> Any:
    """The parameters after the updates; those without one stay, byte for byte."""
    if not isinstance(params, dict):
        return optax.apply_updates(params, updates)
    return {
        name: apply_updates(value, updates[name]) if name in updates else value
        for name, value in params.items()
    }


def momentum(
    *, momentum: float, nesterov: bool, rate_inside: bool, rate: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum.

    Args:
      momentum: m below.
      nesterov: Nesterov's form.
      rate_inside: v := m v + rate g (Caffe, He et al. 2016), else v := m v + g and a step of rate v
        (Torch). They differ where the rate changes.
      rate: the transformation that multiplies by the learning rate.
    """
    check_fraction(momentum=momentum)
    velocity = optax.trace(momentum, nesterov)
    return optax.chain(*([rate, velocity] if rate_inside else [velocity, rate]))


def rmsprop(
    *, momentum: float, square_decay: float, epsilon: float, rate: optax.GradientTransformation
) -> optax.GradientTransformation:
    """RMSProp as TensorFlow's, of Inception-v3 (Szegedy et al. 2016, section 8, and its code).

    s := d s + (1 - d) g^2 from s = 1; v := m v + rate g / sqrt(s + epsilon) from v = 0; a step of
    v. An epsilon outside of the root, or s = 0 at first, would be another rule where epsilon is 1.

    Args:
      momentum: m.
      square_decay: d, the fraction of the mean square that stays.
      epsilon: added to the mean square.
      rate: the transformation that multiplies by the learning rate.
    """
    check_fraction(momentum=momentum, square_decay=square_decay)
    check_not_negative(epsilon=epsilon)
    scaled = optax.scale_by_rms(square_decay, epsilon, initial_scale=1.0, eps_in_sqrt=True)
    return optax.chain(scaled, rate, optax.trace(momentum))


RULES = {"momentum": momentum, "rmsprop": rmsprop}


def kernels(params: Any) -> Any:
    """True for the kernels of convolutions and linear layers, False for biases and batch norm."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def biases(params: Any) -> Any:
    """True for the biases of convolutions and linear layers, False for kernels and batch norm."""
    return {
        name: biases(value) if isinstance(value, dict) else name == "bias" and "kernel" in params
        for name, value in params.items()
    }


def check_fraction(**values: float) -> None:
    """Raises `UserError` for the first field that is not in [0, 1)."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise errors.UserError(f"optimizer.{name} {value} is not in [0, 1)")


def check_not_negative(**values: float) -> None:
    """Raises `UserError` for the first field that is negative."""
    for name, value in values.items():
        if not 0 <= value < float("inf"):
            raise errors.UserError(f"optimizer.{name} {value} is not zero or a positive number")
