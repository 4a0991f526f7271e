"""Arrays of another network as those of ours that does the same: batch norms and long stages."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnn_jax import models
from cnn_jax.interop.sources.layout import Path, is_norm, norm_of

LONG = 9  # units of a stage that `residual_units.Stage` scans


def with_norms(
    flat: dict[Path, np.ndarray], expected: Mapping[Path, tuple[int, ...]], epsilon: float
) -> dict[Path, np.ndarray]:
    """The arrays with biases of convolutions in the batch norms behind them, where ours have none.

    A batch norm subtracts a bias again with the mean. Where the source has made its batch norms a
    part of the convolutions, ours do nothing but add that bias. Where none has a scale, it is 1.
    """
    flat = dict(flat)
    is_folded = not any(path[0] == "batch_stats" for path in flat)
    for path in [path for path in flat if path[-1] == "bias"]:
        layer, kept = "/".join(path[1:-1]), path in expected
        norm = tuple(norm_of(layer).split("/"))
        mean = ("batch_stats", *norm, "mean")
        if is_norm(layer) or mean not in expected:
            continue
        if is_folded:
            bias = 0 * flat[path] if kept else flat.pop(path)
            flat[mean], flat["batch_stats", *norm, "var"] = 0 * bias, 0 * bias + (1 - epsilon)
            flat["params", *norm, "scale"], flat["params", *norm, "bias"] = 0 * bias + 1, bias
        elif not kept and mean in flat:
            flat[mean] = flat[mean] - flat.pop(path)
    for leaf, value in (("scale", 1.0), ("bias", 0.0)):
        norms = {path for path in expected if path[-1] == leaf and is_norm("/".join(path[1:-1]))}
        if not norms & flat.keys():
            flat |= {path: np.full(expected[path], value, np.float32) for path in norms}
    return flat


def with_biases(flat: Mapping[Path, np.ndarray]) -> dict[Path, np.ndarray]:
    """The arrays with a bias of zeros in each convolution before a batch norm."""
    biases = {}
    for path, array in flat.items():
        norm = tuple(norm_of("/".join(path[1:-1])).split("/"))
        if path[-1] == "kernel" and ("params", *norm, "bias") in flat and norm != path[1:-1]:
            biases["params", *path[1:-1], "bias"] = np.zeros(array.shape[-1:], array.dtype)
    return {**flat, **biases}


def epsilon_of(family: str, options: Mapping[str, Any]) -> float:
    """The constant of a network's batch norms."""
    if family == "googlenet":  # of its variant "torchvision", which alone has batch norms
        return 1e-3
    return options.get("bn_epsilon", models.options(family).get("bn_epsilon", 1e-5))


def rolled(flat: Mapping[Path, np.ndarray]) -> dict[Path, np.ndarray]:
    """The arrays with the units of long stages stacked, as `residual_units.Stage` keeps them."""
    found, stacks = {}, {}
    for path, array in flat.items():
        unit = next((part for part in path if re.fullmatch(r"block\d+", part)), None)
        if unit is None:
            found[path] = array
            continue
        generic = tuple("blocks" if part == unit else part for part in path)
        stacks.setdefault(path[1], {}).setdefault(generic, {})[int(unit[5:])] = (path, array)
    for arrays in stacks.values():
        count = max(max(units) for units in arrays.values())
        for generic, units in arrays.items():
            long = count >= LONG
            found |= {path: array for i, (path, array) in units.items() if not long or i == 1}
            if long and (rest := [units[i][1] for i in sorted(units) if i > 1]):
                found[generic] = np.stack(rest)
    return found
