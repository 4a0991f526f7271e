"""Arrays of a network by a source's names and by ours: the tables of `sources`, in both directions.

`to_ours` and `fitted` lead from a source's arrays to variables, `to_theirs` leads back.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.interop import adapted
from cnn_jax.interop.sources import families
from cnn_jax.interop.sources.layout import FLAX, Layout, Path
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.residual_units import unrolled

SIZES = {"cifar_resnet": 32, "wide_resnet": 32, "inception_v3": 299}  # of images; of others 224
HEADS = ("fc", "linear", "fc8", "conv10")  # our names of last layers
FIRST = ("conv1", "conv1_1", "conv1/conv", "Conv2d_1a/conv")  # and of first ones
LISTED = 3  # names in a message
LONGEST = 120  # characters of one
OURS = Layout("cnn_jax", "", {}, FLAX)  # for messages with our names


def to_ours(layout: Layout, state: Mapping[str, np.ndarray]) -> dict[Path, np.ndarray]:
    """Arrays by our paths, with our axes; raises `Unfit` for one without a place of its own."""
    paths = {name: layout.ours(name) for name in state}
    if unknown := [name for name, path in paths.items() if path is None]:
        raise families.Unfit(listed("it has no place for", unknown), len(unknown))
    flat: dict[Path, np.ndarray] = {}
    for name, array in state.items():
        if path := paths[name]:
            if path in flat:
                raise families.Unfit(f"{name} is there twice")
            flat[path] = layout.to_ours(path, np.asarray(array))
    return layout.finish(flat, back=False) if layout.finish else flat


def fitted(
    layout: Layout, options: Mapping[str, Any], flat: Mapping[Path, np.ndarray]
) -> dict[Path, np.ndarray]:
    """The variables of a network, each unit of a stage on its own, of arrays by our paths.

    Args:
      options: arguments of `models.create`, without "name" and "num_classes".

    Raises `Unfit` that names the first arrays, as the source names them, that do not fit.
    """
    expected = shapes_of(layout, options, flat)
    epsilon = adapted.epsilon_of(layout.family, options)
    flat = shifted(flat, (layout.epsilon or epsilon) - epsilon)
    flat = adapted.with_norms(flat, expected, epsilon)
    check(layout, flat, expected)
    return flat


def to_theirs(
    layout: Layout, options: Mapping[str, Any], variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """A network's variables by a source's names and with its axes, in the order of the table.

    Auxiliary heads that the source does not have are left out. Raises `Unfit` that names arrays of
    ours that are missing, do not fit, or have no place there.
    """
    flat = flax.traverse_util.flatten_dict(unrolled(jax.tree.map(np.asarray, dict(variables))))
    check(OURS, flat, shapes_of(layout, options, flat))
    epsilon = adapted.epsilon_of(layout.family, options)
    flat = shifted(flat, epsilon - (layout.epsilon or epsilon))
    flat = adapted.with_biases(flat) if layout.biased else flat
    flat = layout.finish(flat, back=True) if layout.finish else flat
    names = {path: layout.theirs(path) for path in flat}
    placeless = {path for path, name in names.items() if layout.ours(name) != path}
    if main := ["/".join(path) for path in placeless if "aux" not in path[1].lower()]:
        raise families.Unfit(listed(f"{layout.source} has no", sorted(main)))
    order = {layer: i for i, layer in enumerate(dict.fromkeys(layout.names.values()))}
    found = {}
    for path in sorted(
        flat.keys() - placeless, key=lambda path: (order["/".join(path[1:-1])], path)
    ):
        found[names[path]] = np.ascontiguousarray(layout.to_theirs(path, flat[path]))
        if path[-1] == "var" and layout.is_channels_first:
            found[names[path].replace("running_var", "num_batches_tracked")] = np.array(0)
    return found


def shapes_of(
    layout: Layout,
    options: Mapping[str, Any],
    flat: Mapping[Path, np.ndarray],
    image_shape: tuple[int, int, int] | None = None,
) -> dict[Path, tuple[int, ...]]:
    """The shapes that the arrays of a network must have; for arrays without a classifier, too.

    Args:
      image_shape: height, width and channels, where they are known.
    """
    classes = number_of_classes(flat) or 1000
    key = tuple(sorted(options.items()))
    if image_shape is None:
        side = SIZES.get(layout.family, 224)
        image_shape = (side, side, number_of_channels(flat))
    return required(expected_shapes(layout.family, classes, key, image_shape), flat)


def number_of_channels(flat: Mapping[Path, np.ndarray]) -> int:
    """Those of the images: of grey ones 1."""
    first = (flat.get(("params", *layer.split("/"), "kernel")) for layer in FIRST)
    return 1 if any(a is not None and a.ndim == 4 and a.shape[2] == 1 for a in first) else 3


def shifted(flat: Mapping[Path, np.ndarray], shift: float) -> dict[Path, np.ndarray]:
    """The arrays for another epsilon: a variance is only ever added to it."""
    return {path: array + shift if path[-1] == "var" else array for path, array in flat.items()}


def number_of_classes(flat: Mapping[Path, np.ndarray]) -> int | None:
    """The outputs of the last layer; None without one."""
    for head in HEADS:
        if ("params", head, "kernel") in flat:
            return flat["params", head, "kernel"].shape[-1]
    return None


def required(
    expected: Mapping[Path, tuple[int, ...]], flat: Mapping[Path, np.ndarray]
) -> dict[Path, tuple[int, ...]]:
    """The arrays that must be there: a classifier and auxiliary heads may be missing as a whole."""
    there = {path[1] for path in flat}
    optional = {path[1] for path in expected if path[1] in HEADS or "aux" in path[1].lower()}
    return {path: s for path, s in expected.items() if path[1] in there or path[1] not in optional}


@functools.lru_cache(maxsize=16)
def expected_shapes(
    family: str, classes: int, options: tuple, image_shape: tuple[int, int, int]
) -> dict[Path, tuple[int, ...]]:
    """The shapes of a network's variables, with each unit of a stage on its own."""
    try:
        model = models.create(family, num_classes=classes, **dict(options))
    except UserError as error:
        raise families.Unfit(str(error)) from None
    image = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
    shapes = eval_shape(model.init, jax.random.key(0), image)
    found = {}
    for path, leaf in flax.traverse_util.flatten_dict(shapes).items():
        if "blocks" not in path:
            found[path] = leaf.shape
            continue
        for number in range(leaf.shape[0]):
            unit = tuple(f"block{number + 2}" if part == "blocks" else part for part in path)
            found[unit] = leaf.shape[1:]
    return found


def check(
    layout: Layout, flat: Mapping[Path, np.ndarray], expected: Mapping[Path, tuple[int, ...]]
) -> None:
    """Raises `Unfit` that names the first arrays, as the source names them, that do not fit."""
    wrong = [
        f"{layout.theirs(path)} {layout.shape(flat[path].shape)}, not {layout.shape(shape)}"
        for path, shape in expected.items()
        if path in flat and flat[path].shape != shape
    ]
    missing = [layout.theirs(path) for path in expected if path not in flat]
    unknown = [layout.theirs(path) for path in flat if path not in expected]
    told = [listed(what, names) for what, names in [
        ("it has", wrong), ("it lacks", missing), ("it has no place for", unknown)
    ] if names]  # fmt: skip
    if told:
        raise families.Unfit("; ".join(told), len(wrong) + len(missing) + len(unknown))


def listed(what: str, names: list[str]) -> str:
    """The first of some names, as far as they are short, and how many more there are."""
    shown = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names[:LISTED]]
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return f"{what} {', '.join(shown)}{more}"
