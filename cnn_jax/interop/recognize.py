"""Finds the source and the network of arrays by their names and shapes, and converts them.

Each table of `sources` translates the names. Where all of them have a place, the shapes give the
network's options, and every array must be there and have the shape of that network.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import numpy as np

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.interop import adapted, formats
from cnn_jax.interop.sources import (
    caffe,
    cifar,
    families,
    flax_sources,
    tensorflow,
    torch_sources,
)
from cnn_jax.interop.sources.layout import FLAX, Images, Layout, Path
from cnn_jax.models.cpu.xla import eval_shape

SIZES = {"cifar_resnet": 32, "wide_resnet": 32, "inception_v3": 299}  # of images; of others 224
HEADS = ("fc", "linear", "fc8", "conv10")  # our names of last layers
INITIAL = ("init_fan", "weight_init")  # options that only matter before a training
# What names tell of networks that people take for ours.
REFUSED = {
    r"standardized_conv2d|^(norm-)?root_block": (
        "BiT, whose group norms and standardized weights no network here has"
    ),
    r"_preact_bn/|^post_bn/": (
        "Keras's ResNet V2, which has its strides at the ends of its stages, as no network here"
    ),
    r"^conv1\.[036]\.": "timm's ResNet-D or another with three convolutions in place of conv1",
    r"\.(se|attn)\.": "a network with attention in its units, such as SE-ResNet",
}
LISTED = 3  # differences in a message, and candidates


class Trained(NamedTuple):
    """Trained weights of a known network."""

    source: str  # whose names they have: "torchvision", "Keras", "cnn_jax", ...
    model: dict[str, Any]  # arguments of `models.create`, the family as "name"
    variables: dict[str, Any]  # {"params", "batch_stats"}, float32 NumPy
    images: Images | None  # what the network expects; None: the source does not say
    class_names: tuple[str, ...] | None


class Attempt(NamedTuple):
    """What came of one table."""

    layout: Layout
    known: int  # how many arrays have a place
    unknown: list[str]  # the names of the others


def trained(arrays: Mapping[str, np.ndarray], hints: tuple[str, ...] = ()) -> Trained:
    """The network of arrays by their names in a source.

    Args:
      hints: sources to be tried first, which the file names.

    Raises:
      UserError: no table fits; it says which come nearest, and where they differ first.
    """
    state = formats.unwrapped(dict(arrays))
    attempts = [attempt(layout, state) for layout in layouts()]
    attempts.sort(key=lambda one: (one.layout.source not in hints, len(one.unknown), -one.known))
    reasons: dict[str, families.Unfit] = {}
    for one in attempts:
        if one.known and not one.unknown:
            try:
                return converted(one.layout, state)
            except families.Unfit as unfit:
                name = f"{one.layout.source}'s {one.layout.family}"
                reasons[name] = min(unfit, reasons.get(name, unfit), key=lambda u: u.count)
    for pattern, network in REFUSED.items():
        if any(re.search(pattern, name) for name in arrays):
            raise UserError(f"it has weights of {network}")
    raise UserError(nearest(attempts, reasons, arrays))


def is_known(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether a table has a place for each of the arrays."""
    return any(not attempt(layout, arrays).unknown for layout in layouts())


@functools.cache
def layouts() -> tuple[Layout, ...]:
    """The tables of all sources."""
    tables = (torch_sources, cifar, tensorflow, caffe, flax_sources)
    return tuple(layout for table in tables for layout in table.layouts())


def attempt(layout: Layout, state: Mapping[str, np.ndarray]) -> Attempt:
    """Looks up all names in a table."""
    unknown = [name for name in state if layout.ours(name) is None]
    return Attempt(layout, len(state) - len(unknown), unknown)


def nearest(
    attempts: list[Attempt],
    reasons: Mapping[str, families.Unfit],
    arrays: Mapping[str, np.ndarray],
) -> str:
    """Why no table fits: the nearest candidates, each with what is wrong first."""
    ordered = sorted(reasons.items(), key=lambda item: item[1].count)
    told = {name: str(unfit) for name, unfit in ordered[:LISTED]}
    for one in sorted(attempts, key=lambda one: -one.known):
        name = f"{one.layout.source}'s {one.layout.family}"
        if len(told) < LISTED and one.known > len(arrays) / 4 and one.unknown:
            told.setdefault(name, listed("it has no place for", one.unknown))
    if not told:
        sources = ", ".join(dict.fromkeys(one.layout.source for one in attempts))
        first = ", ".join(list(arrays)[:LISTED])
        return f"its arrays ({first}, ...) have names of no known source: {sources}"
    near = "; ".join(f"{name}: {why}" for name, why in told.items())
    return f"it has weights of no known network; the nearest are {near}"


def listed(what: str, names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return f"{what} {', '.join(names[:LISTED])}{more}"


def converted(layout: Layout, state: Mapping[str, np.ndarray]) -> Trained:
    """The variables of a network whose names all stand in the table.

    Raises `Unfit` where the shapes are those of no network.
    """
    flat: dict[Path, np.ndarray] = {}
    for name, array in state.items():
        if path := layout.ours(name):
            if path in flat:
                raise families.Unfit(f"{name} is there twice")
            flat[path] = layout.to_ours(path, np.asarray(array))
    if layout.finish:
        flat = layout.finish(flat)
    shapes = {"/".join(path[1:]): array.shape for path, array in flat.items()}
    try:
        options = {**families.options(layout.family, shapes), **layout.options}
    except families.Missing as missing:
        name = layout.theirs(("params", *missing.path.split("/")))
        raise families.Unfit(f"it lacks {name}") from None
    classes = number_of_classes(flat)
    key = tuple(sorted(options.items()))
    expected = required(expected_shapes(layout.family, classes or 1000, key), flat)
    epsilon = adapted.epsilon_of(layout.family, options)
    shift = (layout.epsilon or epsilon) - epsilon  # a variance is only ever added to its epsilon
    flat = {path: array + shift if path[-1] == "var" else array for path, array in flat.items()}
    flat = adapted.with_norms(flat, expected, epsilon)
    check(layout, flat, expected)
    variables = flax.traverse_util.unflatten_dict(adapted.rolled(flat))
    model = {"name": layout.family, "num_classes": classes, **options}
    images = layout.images.get(classes, layout.images.get(None))
    return Trained(layout.source, model, jax.tree.map(np.float32, variables), images, None)


def own_network(
    flat: Mapping[Path, np.ndarray], classes: int | None, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The arguments of `models.create` for arrays with our own paths, by their shapes.

    Args:
      given: the arguments, where the file says them.

    Raises:
      Unfit: no network of ours has these arrays, or the given one does not.
    """
    shapes = {"/".join(path[1:]): array.shape for path, array in flat.items()}
    reasons = []
    for family in [given["name"]] if given else families.FUNCTIONS:
        try:
            options = dict(given) if given else families.options(family, shapes)
            options = {k: v for k, v in options.items() if k not in ("name", "num_classes")}
            expected = expected_shapes(family, classes or 1000, tuple(sorted(options.items())))
            check(Layout("cnn_jax", family, {}, FLAX), flat, required(expected, flat))
            return {"name": family, **options}
        except families.Unfit as unfit:
            reasons.append(f"{family}: {unfit}")
    raise families.Unfit("; ".join(reasons[:LISTED]))


def required(
    expected: Mapping[Path, tuple[int, ...]], flat: Mapping[Path, np.ndarray]
) -> dict[Path, tuple[int, ...]]:
    """The arrays that must be there: a classifier and auxiliary heads may be missing as a whole."""
    there = {path[1] for path in flat}
    optional = {path[1] for path in expected if path[1] in HEADS or "aux" in path[1].lower()}
    return {path: s for path, s in expected.items() if path[1] in there or path[1] not in optional}


def named(model: Mapping[str, Any]) -> str:
    """A network in words: "resnet (depth=50, stride_in=3x3)"."""
    options = {k: v for k, v in model.items() if k not in ("name", "num_classes", *INITIAL)}
    listed_options = ", ".join(f"{name}={value}" for name, value in options.items())
    return f"{model['name']} ({listed_options})" if options else model["name"]


def number_of_classes(flat: Mapping[Path, np.ndarray]) -> int | None:
    """The outputs of the last layer; None without one."""
    for head in HEADS:
        if ("params", head, "kernel") in flat:
            return flat["params", head, "kernel"].shape[-1]
    return None


@functools.lru_cache(maxsize=16)
def expected_shapes(family: str, classes: int, options: tuple) -> dict[Path, tuple[int, ...]]:
    """The shapes of a network's variables, with each unit of a stage on its own."""
    try:
        model = models.create(family, num_classes=classes, **dict(options))
    except UserError as error:
        raise families.Unfit(str(error)) from None
    size = SIZES.get(family, 224)
    image = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
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
