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

from cnn_jax.errors import UserError
from cnn_jax.interop import adapted, formats, translate
from cnn_jax.interop.sources import (
    caffe,
    cifar,
    families,
    flax_sources,
    tensorflow,
    torch_sources,
)
from cnn_jax.interop.sources.layout import Images, Layout, Path

INITIAL = ("init_fan", "weight_init")  # options that only matter before a training
# Options of networks that are not part of the function that weights were trained for.
OF_TRAINING = (
    *("dropout", "auxiliary_dropout", "shortcut_dropout", "auxiliary", "bn_momentum"),
    *("bn_group_size", "init_fan", "weight_init", "kernel_init", "gamma", "gate_bias"),
    *("zero_init_gamma", "unroll", "remat", "dtype"),
)
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


class Trained(NamedTuple):
    """Trained weights of a known network."""

    source: str  # whose names they have: "torchvision", "Keras", "cnn_jax", ...
    model: dict[str, Any]  # arguments of `models.create`, the family as "name"
    variables: dict[str, Any]  # {"params", "batch_stats"}, float32 NumPy
    images: Images | None  # what the network expects; None: the source does not say
    class_names: tuple[str, ...] | None
    view: dict[str, Any] | None = None  # of an image, where the source says it
    facts: dict[str, Any] | None = None  # of `export.about`, in files that we exported


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
    told = {name: str(unfit) for name, unfit in ordered[: translate.LISTED]}
    for one in sorted(attempts, key=lambda one: -one.known):
        name = f"{one.layout.source}'s {one.layout.family}"
        if len(told) < translate.LISTED and one.known > len(arrays) / 4 and one.unknown:
            told.setdefault(name, translate.listed("it has no place for", one.unknown))
    if not told:
        sources = ", ".join(dict.fromkeys(one.layout.source for one in attempts))
        first = translate.listed("its arrays", list(arrays))
        return f"{first} have names of no known source: {sources}"
    near = "; ".join(f"{name}: {why}" for name, why in told.items())
    return f"it has weights of no known network; the nearest are {near}"


def converted(layout: Layout, state: Mapping[str, np.ndarray]) -> Trained:
    """The variables of a network whose names all stand in the table.

    Raises `Unfit` where the shapes are those of no network.
    """
    flat = translate.to_ours(layout, state)
    shapes = {"/".join(path[1:]): array.shape for path, array in flat.items()}
    try:
        options = {**families.options(layout.family, shapes), **layout.options}
    except families.Missing as missing:
        name = layout.theirs(("params", *missing.path.split("/")))
        raise families.Unfit(f"it lacks {name}") from None
    flat = translate.fitted(layout, options, flat)
    variables = flax.traverse_util.unflatten_dict(adapted.rolled(flat))
    classes = translate.number_of_classes(flat)
    model = {"name": layout.family, "num_classes": classes, **options}
    images = layout.images.get(classes, layout.images.get(None))
    return Trained(layout.source, model, jax.tree.map(np.float32, variables), images, None)


def own_network(
    flat: Mapping[Path, np.ndarray],
    given: Mapping[str, Any] | None,
    image_shape: tuple[int, int, int] | None,
) -> dict[str, Any]:
    """The arguments of `models.create` for arrays with our own paths, by their shapes.

    Args:
      given, image_shape: the arguments, and the images, where the file says them.

    Raises:
      Unfit: no network of ours has these arrays, or the given one does not.
    """
    shapes = {"/".join(path[1:]): array.shape for path, array in flat.items()}
    reasons = []
    for family in [given["name"]] if given else families.FUNCTIONS:
        try:
            options = dict(given) if given else families.options(family, shapes)
            options = {k: v for k, v in options.items() if k not in ("name", "num_classes")}
            layout = translate.OURS._replace(family=family)
            translate.check(layout, flat, translate.shapes_of(layout, options, flat, image_shape))
            return {"name": family, **options}
        except families.Unfit as unfit:
            reasons.append(f"{family}: {unfit}")
    raise families.Unfit("; ".join(reasons[: translate.LISTED]))


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The options, there and here, in which two networks of a family are other functions.

    Options that one of them does not say are left out, and those that are None there, which follow
    from the others.
    """
    ignored = ("name", "num_classes", *OF_TRAINING)
    if ours.get("depth") in (18, 34):  # which have one strided convolution in a unit
        ignored += ("stride_in",)
    return {
        name: (theirs[name], here)
        for name, here in ours.items()
        if name not in ignored and theirs.get(name) not in (None, here)
    }


def named(model: Mapping[str, Any]) -> str:
    """A network in words: "resnet (depth=50, stride_in=3x3)"."""
    options = {k: v for k, v in model.items() if k not in ("name", "num_classes", *INITIAL)}
    listed_options = ", ".join(f"{name}={value}" for name, value in options.items())
    return f"{model['name']} ({listed_options})" if options else model["name"]
