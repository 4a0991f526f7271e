"""Pruning (Han et al. 2015, arXiv:1506.02626; 2016, section 2): which weights are kept.

A mask is a tree like the params: a kernel has a bool array, True where a weight is kept; any other
array has a single True. To prune and retrain, put `gradually` last in the optimizer's chain.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax

from cnn_jax.errors import UserError, unknown

Array = jax.Array
Amount = float | Mapping[str, float]
KEEP_ALL = {"density": 1.0, "overall_density": 1.0, "quality": 0.0}  # amounts that prune nothing


def masks(params: Any, rule: str, amount: Amount, progress: float | Array = 1.0) -> Any:
    """The mask that keeps the largest weights of each kernel.

    Args:
      params: the network's params.
      rule: "density" keeps a fraction `amount` (0-1) of each layer's weights; "overall_density"
        keeps that fraction of all weights, each measured in standard deviations of its layer;
        "quality" keeps weights of at least `amount` standard deviations of their layer.
      amount: one for all kernels, or one by path ("conv1"); layers without one are not pruned.
      progress: 0 prunes nothing, 1 fully: the power of a density, the factor of a quality.

    Raises:
      UserError: the rule or a layer is unknown, or an amount is out of range.
    """
    flat = flatten(params)
    kernels = {name(path): kernel for path, kernel in flat.items() if is_kernel(path)}
    amounts = by_layer(rule, amount, kernels)
    if rule == "quality":
        kept = {n: jnp.abs(k) >= progress * amounts[n] * jnp.std(k) for n, k in kernels.items()}
    elif rule == "density":
        kept = {n: largest(jnp.abs(k), amounts[n] ** progress) for n, k in kernels.items()}
    else:
        scaled = {n: jnp.abs(k) / jnp.maximum(jnp.std(k), 1e-30) for n, k in kernels.items()}
        everything = jnp.concatenate([size.reshape(-1) for size in scaled.values()])
        least = smallest_kept(everything, amount**progress)
        kept = {n: size >= least for n, size in scaled.items()}
    every = {path: kept[name(path)] if is_kernel(path) else jnp.array(True) for path in flat}
    return flax.traverse_util.unflatten_dict(every, sep="/")


def by_layer(rule: str, amount: Amount, layers: Any) -> dict[str, float]:
    """The amount of each layer; raises `UserError` for the reasons of `masks`."""
    if rule not in KEEP_ALL:
        raise unknown("pruning rule", rule, KEEP_ALL)
    named = isinstance(amount, Mapping)
    if named and rule == "overall_density":
        raise UserError("an overall density is one number, not one for each layer", 2)
    amounts = dict(amount) if named else dict.fromkeys(layers, amount)
    for layer, own in amounts.items():
        if layer not in layers:
            raise unknown("layer", layer, layers)
        if own < 0 or (rule != "quality" and own > 1):
            most = "" if rule == "quality" else " and at most 1"
            raise UserError(f"a {rule} of {own} is out of range: it is at least 0{most}", 2)
    return {layer: amounts.get(layer, KEEP_ALL[rule]) for layer in layers}


def smallest_kept(sizes: Array, fraction: float | Array) -> Array:
    """The smallest of the largest `fraction` (0-1) of all sizes; infinite where that is none."""
    count = jnp.round(fraction * sizes.size).astype(int)
    ordered = jnp.sort(sizes.reshape(-1))
    return jnp.where(count > 0, ordered[jnp.minimum(sizes.size - count, sizes.size - 1)], jnp.inf)


def largest(sizes: Array, fraction: float | Array) -> Array:
    """True for the largest `fraction` (0-1) of the sizes; of equal sizes it keeps all."""
    return sizes >= smallest_kept(sizes, fraction)


def apply(params: Any, mask: Any) -> Any:
    """Sets the params to 0 where the mask is False."""
    return jax.tree.map(lambda p, kept: jnp.where(kept, p, 0), params, mask)


class PruneState(flax.struct.PyTreeNode):
    """The state of `gradually`: a checkpoint of the optimizer includes the mask."""

    step: Array  # int32
    mask: Any


def gradually(rule: str, amount: Amount, starts: Sequence[int]) -> optax.GradientTransformation:
    """Iterative pruning: prunes in rounds, at each of the steps `starts`, and trains in between.

    An update sets pruned weights to 0, where they stay. Round r of R keeps density^(r/R), or the
    weights above r/R of the quality, so that densities fall by the same factor in each round.

    Args:
      rule, amount: see `masks`; the last round reaches the amount.
      starts: one step for each round.
    """

    def init(params):
        mask = masks(params, rule, amount, 0.0)  # raises errors before the training starts
        return PruneState(jnp.int32(0), jax.tree.map(jnp.ones_like, mask))

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("pruning needs the params: optimizer.update(grads, state, params)")
        due = jnp.asarray(starts) == state.step
        progress = (jnp.argmax(due) + 1) / len(starts)
        mask = jax.lax.cond(
            due.any(),
            lambda: masks(apply(params, state.mask), rule, amount, progress),
            lambda: state.mask,
        )
        updates = jax.tree.map(lambda u, kept, p: jnp.where(kept, u, -p), updates, mask, params)
        return updates, PruneState(state.step + 1, mask)

    return optax.GradientTransformation(init, update)


def density(params: Any) -> dict[str, float]:
    """The fraction of nonzero weights by layer, and of all kernels as "total"."""
    kernels = {name(p): np.asarray(k) for p, k in flatten(params).items() if is_kernel(p)}
    densities = {layer: np.count_nonzero(k) / k.size for layer, k in kernels.items()}
    return densities | {"total": float(total_density(params))}


def total_density(params: Any) -> Array:
    """The fraction of nonzero weights in all kernels."""
    kernels = [kernel for path, kernel in flatten(params).items() if is_kernel(path)]
    return sum(jnp.count_nonzero(k) for k in kernels) / sum(k.size for k in kernels)


def sensitivity_scan(
    evaluate: Callable[[Any], float], params: Any, densities: Sequence[float]
) -> dict[str, list[float]]:
    """By layer: `evaluate(params)` with this layer alone pruned, to each density (Figure 6)."""
    layers = [name(path) for path in flatten(params) if is_kernel(path)]
    return {
        layer: [evaluate(apply(params, masks(params, "density", {layer: d}))) for d in densities]
        for layer in layers
    }


def flatten(params: Any) -> dict[str, Any]:
    """The arrays by path, such as "conv1/kernel"."""
    return flax.traverse_util.flatten_dict(dict(params), sep="/")


def is_kernel(path: str) -> bool:
    """Whether the path leads to the weights of a convolution or linear layer."""
    return path.split("/")[-1] == "kernel"


def name(path: str) -> str:
    """The layer of a kernel: "conv1" for "conv1/kernel"."""
    return path.removesuffix("/kernel")
