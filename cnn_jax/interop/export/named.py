"""A trained network by the names of a source: the table that has it, and its arrays there."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from cnn_jax import errors, models
from cnn_jax.errors import UserError
from cnn_jax.interop import recognize, translate
from cnn_jax.interop.export.exported import Exported
from cnn_jax.interop.sources import families, torch_sources
from cnn_jax.interop.sources.layout import Layout

# Of programs in PyTorch; the first that has the network is taken.
PYTORCH = ("torchvision", "chenyaofo", "akamaster", "kuangliu", "xternalz", "timm", "Hugging Face")
OURS = "ours"


class Named(NamedTuple):
    """A network's arrays by a source's names."""

    source: str  # "torchvision"
    network: str | None  # the name there, such as "resnet50", for torchvision and timm
    arrays: dict[str, np.ndarray]


def by(network: Exported, source: str | None) -> Named:
    """The arrays by a source's names, by default of the first that has the network.

    Raises `UserError` where no source has it, with what differs least.
    """
    if source not in (None, *PYTORCH):
        raise errors.unknown("--names", source, (*PYTORCH, OURS))
    # timm has torchvision's names where it has none of its own.
    sources = (
        PYTORCH if source is None else (source, "torchvision") if source == "timm" else (source,)
    )
    layout = table(network, sources)
    name = known_as(network) if layout.source in ("torchvision", "timm") else None
    return Named(layout.source, name, arrays(layout, network))


def table(network: Exported, sources: tuple[str, ...]) -> Layout:
    """The first table of these sources that has the network."""
    family, nearest = network.settings["name"], None
    tables = [layout for layout in recognize.layouts() if layout.source in sources]
    for layout in sorted(tables, key=lambda layout: sources.index(layout.source)):
        if layout.family != family:
            continue
        found = differences(network, read_back(layout, network))
        if not found:
            return layout
        if nearest is None or len(found) < len(nearest[1]):
            nearest = layout, found
    listed = " or ".join(dict.fromkeys(layout.source for layout in tables))
    if nearest is None:
        have = ", ".join(dict.fromkeys(layout.family for layout in tables))
        raise UserError(f"no {family} by names of {listed}: they have {have}")
    layout, found = nearest
    told = ", ".join(f"{name}={there} and not {here}" for name, (there, here) in found.items())
    raise UserError(
        f"no such {family} by names of {listed}: the nearest, {layout.source}'s, has {told}"
    )


def read_back(layout: Layout, network: Exported) -> dict[str, Any]:
    """The options of the network that a reader of the source's file would make."""
    shapes = {"/".join(path[1:]): a.shape for path, a in flatten_dict(network.variables).items()}
    try:
        return {**families.options(layout.family, shapes), **layout.options}
    except families.Unfit as unfit:
        raise UserError(f"no network of {layout.source}: {unfit}") from None


def differences(network: Exported, options: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The options, there and here, in which a network of a source is another than ours."""
    theirs = models.options(network.settings["name"]) | dict(options)
    return recognize.differences(theirs, network.settings)


def known_as(network: Exported) -> str | None:
    """torchvision's and timm's name of the network; None of one that they do not have."""
    for name in torch_sources.networks():
        options = dict(torch_sources.family_of(name).NETWORKS[name])
        if options.pop("name") == network.settings["name"] and not differences(network, options):
            return name
    return None


def arrays(layout: Layout, network: Exported) -> dict[str, np.ndarray]:
    """The arrays by the names of a table that has the network."""
    options = {k: v for k, v in network.settings.items() if k not in ("name", "num_classes")}
    try:
        return translate.to_theirs(layout, options, network.variables)
    except families.Unfit as unfit:
        raise UserError(f"{network.name} has no names of {layout.source}: {unfit}") from None
