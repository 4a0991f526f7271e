"""Layers by name: which of them are trained, from when on, and at what rate each learns.

A layer is named by its path in the network, "conv1" or "conv2/block1/bn2". Patterns choose layers,
one after the other:

    "conv1", "fire*/squeeze1x1"   the layers of this name, with `*` for anything
    "conv2"                       and those below a name
    "classifier"                  the layers whose sizes depend on the number of classes
    "!fire9"                      takes layers away; as the first pattern: from all of them
"""

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from cnn_jax.errors import UserError
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.layers import BatchNorm

CLASSIFIER = "classifier"


class Layers(NamedTuple):
    """The layers of a network that have parameters."""

    depth: dict[str, int]  # how many of the network's parts stand before it, in their order
    classifier: frozenset[str]
    shapes: dict[str, Any]  # of the variables, {"params", "batch_stats"}

    def chosen(self, patterns: Iterable[str], field: str) -> frozenset[str]:
        """The layers that the patterns name; raises `UserError` for a pattern that names none."""
        found = frozenset()
        for number, pattern in enumerate(patterns):
            bare = pattern.removeprefix("!")
            own = {name for name in self.depth if is_named(name, bare)}
            own |= self.classifier if bare == CLASSIFIER else set()
            if not own:
                some = ", ".join(list(self.depth)[:8])
                raise UserError(
                    f"{field}: no layer of the network is named {bare!r}; it has {some}, ...", 2
                )
            if bare == pattern:
                found |= own
            else:
                found = (found or frozenset(self.depth) if number == 0 else found) - own
        return found


def is_named(name: str, pattern: str) -> bool:
    """Whether a pattern without "!" names a layer, or what it is a part of."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*")


def layers_of(model: nn.Module, image_shape: tuple[int, int, int]) -> Layers:
    """The layers of a network for images of a shape; computes shapes only.

    A part is what stands in the network itself: a convolution, a stage, a fire module. A batch norm
    counts with the part before it.
    """
    called: dict[str, None] = {}

    def note(function, args, kwargs, context):
        if context.module.path:
            called.setdefault(context.module.path[0])
        return function(*args, **kwargs)

    def shapes(network):
        image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
        return eval_shape(network.init, jax.random.key(0), image)

    with nn.intercept_methods(note):
        variables = {"batch_stats": {}} | shapes(model)
    own = flatten_dict(variables["params"])
    other = flatten_dict(shapes(model.clone(num_classes=model.num_classes + 1))["params"])
    with_kernel = {path[0] for path in own if path[-1] == "kernel"}
    parts, number = {}, -1
    for part in called:
        number += part in with_kernel
        parts[part] = max(number, 0)
    ordered = sorted(own, key=lambda path: list(called).index(path[0]))
    return Layers(
        {"/".join(path[:-1]): parts[path[0]] for path in ordered},
        frozenset("/".join(path[:-1]) for path in own if own[path].shape != other[path].shape),
        {name: variables[name] for name in ("params", "batch_stats")},
    )


# --- rates ----------------------------------------------------------------------------------------


def factors(
    layers: Layers, rate_by_layer: Sequence[tuple[str, float]], layer_decay: float
) -> dict[str, float]:
    """By what the rate of each layer is multiplied.

    Args:
      rate_by_layer: pattern and factor; a layer takes the last one that names it.
      layer_decay: a layer takes this to the power of the number of parts behind its own
        (Clark et al. 2020, arXiv:2003.10555), times its factor.
    """
    if not 0 < layer_decay <= 1:
        raise UserError(f"optimizer.layer_decay {layer_decay} is not in (0, 1]")
    last = max(layers.depth.values())
    found = {name: layer_decay ** (last - depth) for name, depth in layers.depth.items()}
    own: dict[str, float] = {}
    for entry in rate_by_layer:
        if isinstance(entry, str) or not isinstance(entry, Sequence) or len(entry) != 2:
            raise UserError(
                f"optimizer.rate_by_layer has {entry!r}: write pairs, (('conv1', 0.1),)", 2
            )
        pattern, factor = entry
        if not 0 <= factor < float("inf"):
            raise UserError(f"optimizer.rate_by_layer: {factor} is not zero or a positive number")
        own |= dict.fromkeys(layers.chosen([pattern], "optimizer.rate_by_layer"), float(factor))
    return {name: value * own.get(name, 1.0) for name, value in found.items()}


def scale_by_layer(by_name: dict[str, float]) -> optax.GradientTransformation:
    """Multiplies the updates of each layer."""

    def scaled(updates, params):
        del params
        flat = flatten_dict(updates, sep="/")
        return unflatten_dict({k: by_name[layer(k)] * u for k, u in flat.items()}, sep="/")

    return optax.stateless(scaled)


# --- frozen layers --------------------------------------------------------------------------------


def without(tree: Any, frozen: frozenset[str]) -> Any:
    """Parameters, or what has their structure, without those of frozen layers."""
    flat = flatten_dict(tree, sep="/")
    return unflatten_dict({k: v for k, v in flat.items() if layer(k) not in frozen}, sep="/")


def layer(path: str) -> str:
    """The layer of a parameter "conv1/kernel"."""
    return path.rpartition("/")[0]


def leave_out(
    optimizer: optax.GradientTransformation, frozen: frozenset[str]
) -> optax.GradientTransformation:
    """The optimizer of all other layers; the frozen ones have no state, and get no update.

    What their updates are added with is `optimizers.apply_updates`.
    """
    return optax.GradientTransformation(
        lambda params: optimizer.init(without(params, frozen)),
        lambda gradient, state, params: optimizer.update(
            without(gradient, frozen), state, without(params, frozen)
        ),
    )


def hold(
    optimizer: optax.GradientTransformation, frozen: frozenset[str]
) -> optax.GradientTransformation:
    """The same where the frozen layers are trained later: their state is there, and waits."""

    def is_held(path) -> bool:
        keys = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
        return "/".join(keys[:-1]) in frozen

    def update(gradient, state, params):
        gradient = jax.tree_util.tree_map_with_path(
            lambda path, g: jnp.zeros_like(g) if is_held(path) else g, gradient
        )
        updates, after = optimizer.update(gradient, state, params)
        after = jax.tree_util.tree_map_with_path(
            lambda path, old, new: old if is_held(path) else new, state, after
        )
        return without(updates, frozen), after

    return optax.GradientTransformation(optimizer.init, update)


class FrozenNorms(NamedTuple):
    """A network in training whose frozen batch norms use their running statistics, and keep them.

    It takes the place of the module in `make_train_step`.
    """

    model: nn.Module
    frozen: frozenset[str]

    def apply(self, *args, **options) -> Any:
        """`model.apply`."""

        def as_in_evaluation(function: Callable, args, kwargs, context):
            module = context.module
            is_norm = isinstance(module, BatchNorm) and context.method_name == "__call__"
            if is_norm and "/".join(module.path) in self.frozen:
                return function(args[0], train=False)
            return function(*args, **kwargs)

        with nn.intercept_methods(as_in_evaluation):
            return self.model.apply(*args, **options)


def phases(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    frozen: frozenset[str],
    unfreeze: int,
) -> list[tuple[Any, optax.GradientTransformation]]:
    """Network and optimizer of a training, or of its two phases.

    Args:
      unfreeze: the step from which on all layers are trained; 0: the layers are frozen throughout,
        and `optimizer` leaves them out already.
    """
    network = FrozenNorms(model, frozen)
    if not unfreeze:
        return [(network, optimizer)]
    return [(network, hold(optimizer, frozen)), (model, optimizer)]
