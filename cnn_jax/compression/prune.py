"""Pruning (Han et al. 2015, arXiv:1506.02626; 2016, section 2): which weights are kept.

Masks are trees like the params: bool arrays, True where a weight is kept; all of what is no kernel.
To prune and retrain, put `masked` last in the optimizer's chain:

    mask = prune.by_density(params, 0.3)
    optimizer = optax.chain(optax.sgd(0.01, momentum=0.9), prune.masked(mask))
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax

from cnn_jax.errors import UserError, unknown


def by_quality(params: Any, quality: float | Mapping[str, float]) -> Any:
    """Keeps weights of at least `quality` standard deviations of their layer.

    Args:
      params: of a network.
      quality: for all kernels, or by path ("conv1"; a layer that is not named is kept whole).
    """
    return _masks(params, quality, 0.0, lambda kernel, q: np.abs(kernel) >= q * kernel.std())


def by_density(params: Any, density: float | Mapping[str, float]) -> Any:
    """Keeps the largest weights of each layer, the share `density` (0-1) of them; see `by_quality`.

    Raises `UserError` for a share that is none.
    """
    return _masks(params, density, 1.0, _largest)


def by_overall_density(params: Any, density: float) -> Any:
    """Keeps the largest weights of all, in deviations of their layers, the share `density`."""
    flat = {path: kernel for path, kernel in _flatten(params).items() if _is_kernel(path)}
    scaled = {path: np.abs(k) / max(float(k.std()), 1e-30) for path, k in flat.items()}
    everything = np.concatenate([size.reshape(-1) for size in scaled.values()])
    kept = np.split(_largest(everything, density), np.cumsum([k.size for k in flat.values()])[:-1])
    masks = {path: mask.reshape(flat[path].shape) for path, mask in zip(flat, kept, strict=True)}
    everywhere = {path: np.ones(np.shape(x), bool) for path, x in _flatten(params).items()}
    return flax.traverse_util.unflatten_dict(everywhere | masks, sep="/")


def apply(params: Any, mask: Any) -> Any:
    """The params, 0 where the mask is False."""
    return jax.tree.map(lambda p, kept: jnp.where(kept, p, 0), params, mask)


def masked(mask: Any) -> optax.GradientTransformation:
    """Brings weights that are not kept to 0 with the next update, and holds them there."""

    def update(updates, state, params=None):
        if params is None:
            raise ValueError(
                "prune.masked needs the params: optimizer.update(grads, state, params)"
            )
        return jax.tree.map(lambda u, kept, p: jnp.where(kept, u, -p), updates, mask, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def density(params: Any) -> dict[str, float]:
    """The share of weights that are not 0, of every kernel, and of all ("total")."""
    kernels = {path: np.asarray(k) for path, k in _flatten(params).items() if _is_kernel(path)}
    shares = {_name(path): np.count_nonzero(k) / k.size for path, k in kernels.items()}
    kept = sum(np.count_nonzero(k) for k in kernels.values())
    return shares | {"total": kept / sum(k.size for k in kernels.values())}


def sensitivity_scan(
    evaluate: Callable[[Any], float], params: Any, densities: Sequence[float]
) -> dict[str, list[float]]:
    """`evaluate(params)` with one layer at a time at each density, by layer (Figure 6)."""
    names = [_name(path) for path in _flatten(params) if _is_kernel(path)]
    return {
        name: [evaluate(apply(params, by_density(params, {name: d}))) for d in densities]
        for name in names
    }


def _masks(params, amount, whole, keep):
    flat = _flatten(params)
    names = [_name(path) for path in flat if _is_kernel(path)]
    if isinstance(amount, Mapping):
        for name in amount:
            if name not in names:
                raise unknown("layer", name, names)
    masks = {}
    for path, values in flat.items():
        masks[path] = np.ones(np.shape(values), bool)
        if _is_kernel(path):
            own = amount.get(_name(path), whole) if isinstance(amount, Mapping) else amount
            masks[path] = keep(np.asarray(values), own)
    return flax.traverse_util.unflatten_dict(masks, sep="/")


def _largest(kernel: np.ndarray, share: float) -> np.ndarray:
    if not 0 <= share <= 1:
        raise UserError(f"a density of {share}; it is between 0 and 1", 2)
    kept = np.zeros(kernel.size, bool)
    order = np.argsort(-np.abs(kernel).reshape(-1), kind="stable")
    kept[order[: round(share * kernel.size)]] = True
    return kept.reshape(kernel.shape)


def _flatten(params: Any) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(dict(params), sep="/")


def _is_kernel(path: str) -> bool:
    return path.split("/")[-1] == "kernel"


def _name(path: str) -> str:
    return path.removesuffix("/kernel")
