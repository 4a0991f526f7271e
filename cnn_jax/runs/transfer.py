"""What a network takes of the weights of a trained one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from cnn_jax.cluster.join import ProcessGroup
from cnn_jax.errors import UserError
from cnn_jax.optim.by_layer import Layers

EVERYTHING = "*"


class Transfer(NamedTuple):
    """Variables for a part of a network, and the names of layers."""

    variables: dict[str, Any]  # {"params", "batch_stats"} of the layers that are taken
    taken: tuple[str, ...]
    new: tuple[str, ...]  # keep their initial values
    left: tuple[str, ...]  # of the trained network, and not taken

    def lines(self, source: str) -> list[str]:
        """What was taken, for people."""
        lines = [f"from {source}: {len(self.taken)} layers, {named(self.taken)}"]
        if self.new:
            lines.append(f"new, with initial values: {named(self.new)}")
        if self.left:
            lines.append(f"left in {source}: {named(self.left)}")
        return lines


def transfer(
    theirs: Mapping[str, Any], patterns: Sequence[str], layers: Layers, source: str
) -> Transfer:
    """Takes the layers that the patterns name, see `by_layer`.

    After "*", or "!" at first, those that the trained network lacks are new, and so is a classifier
    for another number of classes. Layers that are named must be there, in their size.

    Args:
      theirs: variables {"params", "batch_stats"}.
      layers: those of our network.
      source: the name of the weights, for messages.

    Raises `UserError` for a pattern without a layer, for what does not fit, and where nothing does.
    """
    wanted = layers.chosen(patterns, "init.layers")
    are_named = EVERYTHING not in patterns and not patterns[0].startswith("!")
    own, found = by_layer(layers.shapes), by_layer(theirs)
    taken, new = [], []
    for name in layers.depth:
        if name in wanted and fits(name, own[name], found, layers, are_named, source):
            taken.append(name)
        else:
            new.append(name)
    if not taken:
        raise UserError(f"{source} has none of the network's layers {named(tuple(own))}")
    arrays = {path: found[name][path] for name in taken for path in own[name]}
    left = tuple(name for name in found if name not in taken)
    return Transfer(unflatten_dict(arrays), tuple(taken), tuple(new), left)


def by_layer(variables: Mapping[str, Any]) -> dict[str, dict[tuple[str, ...], Any]]:
    """The arrays by layer, and by path within the variables."""
    found: dict[str, dict[tuple[str, ...], Any]] = {}
    for path, array in flatten_dict(dict(variables)).items():
        found.setdefault("/".join(path[1:-1]), {})[path] = array
    return found


def fits(
    name: str,
    own: Mapping[tuple[str, ...], Any],
    found: Mapping[str, Mapping[tuple[str, ...], Any]],
    layers: Layers,
    is_named: bool,
    source: str,
) -> bool:
    """Whether the trained network has the layer; raises `UserError` where it must, and has not."""
    if name not in found and not is_named:
        return False
    for path, array in own.items():
        there = found.get(name, {}).get(path)
        if there is not None and np.shape(there) == array.shape:
            continue
        if there is not None and name in layers.classifier and not is_named:
            return False
        what = "is not in it" if there is None else f"is {list(np.shape(there))} in it"
        without = "" if is_named else f", as ('*', '!{name}')"
        raise UserError(
            f"{source}: {'/'.join(path[1:])} {what}, and {list(array.shape)} in the network of the "
            f"config: see init.layers{without}"
        )
    return True


def named(names: tuple[str, ...], most: int = 6) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def with_weights(state: Any, weights: Mapping[str, Any], group: ProcessGroup) -> Any:
    """The `TrainState` with these weights, on the devices of those before; all else stays."""
    given = flatten_dict(weights)

    def put(variables):
        flat = flatten_dict(variables, keep_empty_nodes=True)
        return unflatten_dict(flat | like({path: flat[path] for path in given}, given, group))

    return state.replace(**put(state.variables), ema=put(state.ema) if state.ema else state.ema)


def like(old: Any, new: Any, group: ProcessGroup) -> Any:
    """Host arrays on the devices that those of `old` are on."""
    return group.put_global(new, jax.tree.map(lambda array: array.sharding, old))
