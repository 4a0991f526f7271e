"""The receptive field of each layer: which pixels its units can see, by the traced program.

Rows and columns are followed apart. Of each position along an axis of a map the first and the last
pixel are kept: a kernel or a pooling takes those of its taps that lie inside of the map, and maps
that are added or concatenated take the wider of both (Araujo et al. 2019, distill.pub/2019/
computing-receptive-fields). What mixes all positions, as a mean or a linear layer, sees what any of
them does.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.inside import activations

CALLS = {"jit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
NOTHING = np.iinfo(np.int64).max  # the first pixel of what sees none; the last is -NOTHING


class Reach(NamedTuple):
    """What the positions along an axis see of the rows, or of the columns, of the image."""

    axis: int | None  # of the array; None: all of it sees the same
    first: np.ndarray  # the first pixel, int [positions], or [] where the axis is None
    last: np.ndarray

    def at(self, place: int) -> tuple[int, int]:
        """The first and the last pixel that a position sees."""
        ends = (self.first, self.last)
        return tuple(int(end if self.axis is None else end[place]) for end in ends)

    def middle(self) -> tuple[int, int]:
        """The first and the last pixel that the central position sees."""
        return self.at(self.first.size // 2)

    def everywhere(self) -> "Reach":
        """What all positions see together."""
        return Reach(None, self.first.min(), self.last.max())


Pair = tuple[Reach, Reach]  # of rows and of columns
Seen = Pair | None  # None: nothing of the image
Box = tuple[slice, slice]  # rows and columns of the image


def fields(
    model: nn.Module, image_shape: tuple[int, int, int], wanted: Sequence[str]
) -> dict[str, Pair]:
    """The reach of the rows and columns of each wanted activation; computes shapes only.

    Args:
      model: from `activations.each_block`.
    """
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = eval_shape(model.init, jax.random.key(0), image)

    def found(image, variables):
        return activations.apply(model, variables, image, wanted)[1]

    traced, shapes = jax.make_jaxpr(found, return_shape=True)(image, variables)
    height, width = image_shape[:2]
    pixels = tuple(Reach(i + 1, np.arange(n), np.arange(n)) for i, n in enumerate((height, width)))
    rest = [None] * len(jax.tree.leaves(variables))
    return jax.tree.unflatten(jax.tree.structure(shapes), run(traced.jaxpr, [pixels, *rest]))


def seen_at(reach: Pair, row: int, column: int) -> Box:
    """The rows and columns of the image that a unit sees."""
    ends = (own.at(place) for own, place in zip(reach, (row, column), strict=True))
    return tuple(slice(first, last + 1) for first, last in ends)


def center(reach: Pair) -> Box:
    """The same of the unit in the center of a map."""
    return seen_at(reach, *(own.first.size // 2 for own in reach))


# --- through the program ------------------------------------------------------------------------


def run(jaxpr: Any, operands: Sequence[Seen]) -> list[Seen]:
    """What the results of a program see."""
    known: dict[Any, Seen] = dict(zip(jaxpr.invars, operands, strict=True))
    for eqn in jaxpr.eqns:
        seen = [None if isinstance(atom, Literal) else known.get(atom) for atom in eqn.invars]
        known |= zip(eqn.outvars, results(eqn, seen), strict=True)
    return [known.get(atom) for atom in jaxpr.outvars]


def results(eqn: Any, seen: Sequence[Seen]) -> list[Seen]:
    """What the results of one step see."""
    name = eqn.primitive.name
    if not any(seen):
        return [None] * len(eqn.outvars)
    if name in CALLS:
        return run(eqn.params[CALLS[name]].jaxpr, seen)
    if name == "cond":  # the branches of `lax.platform_dependent`, which compute the same
        return run(eqn.params["branches"][-1].jaxpr, seen[1:])
    found = tuple(result(eqn, name, [own and own[i] for own in seen]) for i in (0, 1))
    return [found] * len(eqn.outvars)


def result(eqn: Any, name: str, reaches: Sequence[Reach | None]) -> Reach:
    """The reach of the result of a step, along rows or along columns."""
    if name == "concatenate":
        return concatenated(eqn, reaches)
    found = [reach for reach in reaches if reach is not None]
    shape, axes = eqn.outvars[0].aval.shape, {reach.axis for reach in found}
    shapes = [v.aval.shape for v, own in zip(eqn.invars, reaches, strict=True) if own is not None]
    if name in MOVES and len(found) == 1 and axes != {None}:
        return MOVES[name](eqn, found[0])
    if len(axes) == 1 and all(own == shape for own in shapes):  # one by one
        return widest(found)
    return widest([reach.everywhere() for reach in found])


def widest(reaches: Sequence[Reach]) -> Reach:
    """What several arrays of the same axis see together."""
    first = np.minimum.reduce([reach.first for reach in reaches])
    return Reach(reaches[0].axis, first, np.maximum.reduce([reach.last for reach in reaches]))


def concatenated(eqn: Any, reaches: Sequence[Reach | None]) -> Reach:
    found = [reach for reach in reaches if reach is not None]
    axis = eqn.params["dimension"]
    if all(reach.axis not in (None, axis) for reach in found):
        return widest(found)
    if len(found) < len(reaches) or any(reach.axis is None for reach in found):
        return widest([reach.everywhere() for reach in found])
    ends = ([getattr(reach, end) for reach in found] for end in ("first", "last"))
    return Reach(axis, *map(np.concatenate, ends))


def windows(reach: Reach, eqn: Any, axis: int, how: Sequence[int]) -> Reach:
    """That of windows along an axis of the result; taps in the padding see nothing.

    Args:
      how: taps, stride, padding before the first position, and dilation.
    """
    taps, stride, low, dilation = how
    size, end = eqn.outvars[0].aval.shape[axis], len(reach.first)
    at = np.arange(size)[:, None] * stride - low + np.arange(taps) * dilation
    inside, at = (at >= 0) & (at < end), np.clip(at, 0, end - 1)
    first = np.where(inside, reach.first[at], NOTHING).min(1)
    return Reach(axis, first, np.where(inside, reach.last[at], -NOTHING).max(1))


def convolved(eqn: Any, reach: Reach) -> Reach:
    own, numbers = eqn.params, eqn.params["dimension_numbers"]
    if reach.axis not in numbers.lhs_spec[2:]:
        return reach.everywhere()
    i = numbers.lhs_spec[2:].index(reach.axis)
    if own["lhs_dilation"][i] != 1:
        return reach.everywhere()
    taps = eqn.invars[1].aval.shape[numbers.rhs_spec[2 + i]]
    how = (taps, own["window_strides"][i], own["padding"][i][0], own["rhs_dilation"][i])
    return windows(reach, eqn, numbers.out_spec[2 + i], how)


def pooled(eqn: Any, reach: Reach) -> Reach:
    own, i = eqn.params, reach.axis
    taps, stride = own["window_dimensions"][i], own["window_strides"][i]
    return windows(reach, eqn, i, (taps, stride, own["padding"][i][0], own["window_dilation"][i]))


def sliced(eqn: Any, reach: Reach) -> Reach:
    stride = eqn.params["strides"][reach.axis] if eqn.params["strides"] else 1
    start = eqn.params["start_indices"][reach.axis]
    return windows(reach, eqn, reach.axis, (1, stride, -start, 1))


def padded(eqn: Any, reach: Reach) -> Reach:
    low, _, between = eqn.params["padding_config"][reach.axis]
    if between:
        return reach.everywhere()
    return windows(reach, eqn, reach.axis, (1, 1, low, 1))


def transposed(eqn: Any, reach: Reach) -> Reach:
    return reach._replace(axis=eqn.params["permutation"].index(reach.axis))


def repeated(eqn: Any, reach: Reach) -> Reach:
    axis = eqn.params["broadcast_dimensions"][reach.axis]
    is_same = eqn.outvars[0].aval.shape[axis] == len(reach.first)
    return reach._replace(axis=axis) if is_same else reach.everywhere()


def reduced(eqn: Any, reach: Reach) -> Reach:
    gone = eqn.params["axes"]
    if reach.axis in gone:
        return reach.everywhere()
    return reach._replace(axis=reach.axis - sum(axis < reach.axis for axis in gone))


def reshaped(eqn: Any, reach: Reach) -> Reach:
    """The axis stays where as many numbers stand before it as did, and its size is the same."""
    before, after = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    leading = math.prod(before[: reach.axis])
    for axis, size in enumerate(after):
        if size == len(reach.first) and math.prod(after[:axis]) == leading:
            return reach._replace(axis=axis)
    return reach.everywhere()


MOVES: dict[str, Callable[[Any, Reach], Reach]] = {
    "conv_general_dilated": convolved,
    **dict.fromkeys(("reduce_window_max", "reduce_window_sum", "reduce_window_min"), pooled),
    "slice": sliced,
    "pad": padded,
    "transpose": transposed,
    "broadcast_in_dim": repeated,
    **dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min"), reduced),
    **dict.fromkeys(("reshape", "squeeze", "expand_dims"), reshaped),
}
