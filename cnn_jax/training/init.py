"""The config group `init`: training that starts from layers of a trained network.

    weights  a run, or a file of `launch.py compress` or `launch.py convert`
    layers   patterns of layers' names, as in ("conv1_1", "fc*"); the others keep initial values

A config without this group trains from the network's initial values. So VGG's deeper networks start
from a trained A (arXiv:1409.1556, section 3.1).
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from cnn_jax.cluster.join import ProcessGroup
from cnn_jax.errors import UserError
from cnn_jax.interop import formats, read
from cnn_jax.runs import load_run
from cnn_jax.training.steps import TrainState


def create(
    *, weights: str | None, layers: Sequence[str], group: ProcessGroup
) -> Callable[[TrainState], TrainState]:
    """What puts the layers' weights into a first state.

    Raises `UserError` where no weights are named; the function, where they do not fit.
    """
    if weights is None:
        raise UserError("which trained network? --config.init.weights=RUN_OR_FILE names it", 2)

    def load_start(state):
        return with_weights(state, chosen(trained(weights), state, layers, weights), group)

    return load_start


def trained(weights: str) -> dict[str, Any]:
    """The variables of a run or file, on the host."""
    path = Path(weights)
    if path.suffix in read.SUFFIXES:
        arrays = formats.by_name(path)
        if not any(name.startswith("params/") for name in arrays):
            raise UserError(f"{path} has other names: `launch.py convert` gives the arrays ours")
        return read.nested(path, arrays)
    return load_run(path).variables()


def chosen(
    found: dict[str, Any], state: TrainState, patterns: Sequence[str], source: str
) -> dict[str, Any]:
    """The variables of the layers that the patterns name; raises `UserError` for what cannot be."""
    ours, theirs = flatten_dict(state.variables), flatten_dict(found)
    names = {path: "/".join(path[1:-1]) for path in ours}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names.values()):
            raise UserError(f"init.layers: no layer of the network is named {pattern!r}", 2)
    paths = [p for p, name in names.items() if any(fnmatchcase(name, one) for one in patterns)]
    for path in paths:
        there = theirs[path].shape if path in theirs else None
        if there != ours[path].shape:
            what = "is not in it" if there is None else f"is {list(there)} in it"
            ours_is = f"{list(ours[path].shape)} in the network of the config"
            raise UserError(
                f"{source}: {'/'.join(path[1:])} {what}, and {ours_is}: see init.layers"
            )
    return unflatten_dict({path: theirs[path] for path in paths})


def with_weights(state: TrainState, weights: dict[str, Any], group: ProcessGroup) -> TrainState:
    """The state with these weights, on the devices of those before; what is not given stays."""
    given = flatten_dict(weights)

    def put(variables):
        flat = flatten_dict(variables, keep_empty_nodes=True)
        return unflatten_dict(flat | like({path: flat[path] for path in given}, given, group))

    return state.replace(**put(state.variables), ema=put(state.ema) if state.ema else state.ema)


def like(old: Any, new: Any, group: ProcessGroup) -> Any:
    """Host arrays on the devices that those of `old` are on."""
    return group.put_global(new, jax.tree.map(lambda array: array.sharding, old))
