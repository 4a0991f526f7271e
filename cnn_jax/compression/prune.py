"""Pruning (Han et al. 2015, arXiv:1506.02626; 2016, section 2): which weights are kept.

Masks are trees like the params: bool arrays, True where a weight is kept, and a single True for all
of what is no kernel. To prune and retrain, put `gradually` last in the optimizer's chain.
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
WHOLE = {"density": 1.0, "overall_density": 1.0, "quality": 0.0}  # the amount that keeps everything


def masks(params: Any, rule: str, amount: Amount, share: float | Array = 1.0) -> Any:
    """What is kept of each kernel.

    Args:
      params: of a network.
      rule: "density" keeps the share `amount` (0-1) of each layer, its largest weights;
        "overall_density" that share of all weights, the largest in deviations of their layers;
        "quality" the weights of at least `amount` standard deviations of their layer.
      amount: for all kernels, or by path ("conv1"; a layer that is not named is kept whole).
      share: of the way there: densities are raised to this power, qualities multiplied by it.

    Raises:
      UserError: an unknown rule or layer, or an amount that cannot be.
    """
    flat = flatten(params)
    kernels = {name(path): kernel for path, kernel in flat.items() if is_kernel(path)}
    amounts = by_layer(rule, amount, kernels)
    if rule == "quality":
        kept = {n: jnp.abs(k) >= share * amounts[n] * jnp.std(k) for n, k in kernels.items()}
    elif rule == "density":
        kept = {n: largest(jnp.abs(k), amounts[n] ** share) for n, k in kernels.items()}
    else:
        scaled = {n: jnp.abs(k) / jnp.maximum(jnp.std(k), 1e-30) for n, k in kernels.items()}
        everything = jnp.concatenate([size.reshape(-1) for size in scaled.values()])
        least = smallest_kept(everything, amount**share)
        kept = {n: size >= least for n, size in scaled.items()}
    every = {path: kept[name(path)] if is_kernel(path) else jnp.array(True) for path in flat}
    return flax.traverse_util.unflatten_dict(every, sep="/")


def by_layer(rule: str, amount: Amount, layers: Any) -> dict[str, float]:
    """The amount of each layer, checked."""
    if rule not in WHOLE:
        raise unknown("pruning rule", rule, WHOLE)
    named = isinstance(amount, Mapping)
    if named and rule == "overall_density":
        raise UserError("an overall density is one number, not one per layer", 2)
    amounts = dict(amount) if named else dict.fromkeys(layers, amount)
    for layer, own in amounts.items():
        if layer not in layers:
            raise unknown("layer", layer, layers)
        if own < 0 or (rule != "quality" and own > 1):
            most = "" if rule == "quality" else " and at most 1"
            raise UserError(f"a {rule} of {own}; it is at least 0{most}", 2)
    return {layer: amounts.get(layer, WHOLE[rule]) for layer in layers}


def smallest_kept(sizes: Array, share: float | Array) -> Array:
    """The size that the share (0-1) of all sizes reaches; infinite where that is none of them."""
    count = jnp.round(share * sizes.size).astype(int)
    ordered = jnp.sort(sizes.reshape(-1))
    return jnp.where(count > 0, ordered[jnp.minimum(sizes.size - count, sizes.size - 1)], jnp.inf)


def largest(sizes: Array, share: float | Array) -> Array:
    """True for the largest, the share (0-1) of them; equal ones are kept together."""
    return sizes >= smallest_kept(sizes, share)


def apply(params: Any, mask: Any) -> Any:
    """The params, 0 where the mask is False."""
    return jax.tree.map(lambda p, kept: jnp.where(kept, p, 0), params, mask)


class PruneState(flax.struct.PyTreeNode):
    """Arrays, so that a checkpoint holds the mask."""

    step: Array  # int32
    mask: Any


def gradually(rule: str, amount: Amount, starts: Sequence[int]) -> optax.GradientTransformation:
    """Iterative pruning: part of the weights at each of the steps `starts`, training in between.

    Weights that are not kept go to 0 with the next update, and stay there. Round r of R keeps
    density^(r/R), or what is above r/R of the quality: as many times fewer weights in each round.

    Args:
      rule, amount: see `masks`; reached in the last round.
    """

    def init(params):
        mask = masks(params, rule, amount, 0.0)  # also tells now what is wrong with the amounts
        return PruneState(jnp.int32(0), jax.tree.map(jnp.ones_like, mask))

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("pruning needs the params: optimizer.update(grads, state, params)")
        due = jnp.asarray(starts) == state.step
        share = (jnp.argmax(due) + 1) / len(starts)
        mask = jax.lax.cond(
            due.any(),
            lambda: masks(apply(params, state.mask), rule, amount, share),
            lambda: state.mask,
        )
        updates = jax.tree.map(lambda u, kept, p: jnp.where(kept, u, -p), updates, mask, params)
        return updates, PruneState(state.step + 1, mask)

    return optax.GradientTransformation(init, update)


def density(params: Any) -> dict[str, float]:
    """The share of weights that are not 0, of every kernel, and of all ("total")."""
    kernels = {name(p): np.asarray(k) for p, k in flatten(params).items() if is_kernel(p)}
    shares = {layer: np.count_nonzero(k) / k.size for layer, k in kernels.items()}
    return shares | {"total": float(total_density(params))}


def total_density(params: Any) -> Array:
    """The share of the weights of all kernels that are not 0."""
    kernels = [kernel for path, kernel in flatten(params).items() if is_kernel(path)]
    return sum(jnp.count_nonzero(k) for k in kernels) / sum(k.size for k in kernels)


def sensitivity_scan(
    evaluate: Callable[[Any], float], params: Any, densities: Sequence[float]
) -> dict[str, list[float]]:
    """`evaluate(params)` with one layer at a time at each density, by layer (Figure 6)."""
    layers = [name(path) for path in flatten(params) if is_kernel(path)]
    return {
        layer: [evaluate(apply(params, masks(params, "density", {layer: d}))) for d in densities]
        for layer in layers
    }


def flatten(params: Any) -> dict[str, Any]:
    """By path: "conv1/kernel"."""
    return flax.traverse_util.flatten_dict(dict(params), sep="/")


def is_kernel(path: str) -> bool:
    """Whether these are the weights of a convolution or linear layer."""
    return path.split("/")[-1] == "kernel"


def name(path: str) -> str:
    """Of the layer: "conv1"."""
    return path.removesuffix("/kernel")
