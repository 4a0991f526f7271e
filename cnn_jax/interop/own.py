"""Our own files: arrays by paths such as "params/conv1/kernel"."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import safetensors

from cnn_jax.errors import UserError
from cnn_jax.interop import hub_folder, recognize, torchvision, translate
from cnn_jax.interop.recognize import Trained
from cnn_jax.interop.sources import families
from cnn_jax.interop.sources.layout import Images
from cnn_jax.models.residual_units import unrolled


def is_own(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the arrays have our names."""
    return any(name.startswith("params/") for name in arrays)


def without_collections(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays by the names of their layers: "conv1/kernel" of "params/conv1/kernel"."""
    return {
        name.partition("/")[2]: array
        for name, array in arrays.items()
        if name.startswith(("params/", "batch_stats/"))
    }


def about(path: Path) -> dict[str, Any]:
    """What `weights.save` keeps beside the arrays; {} in files of others."""
    if path.suffix != ".safetensors":
        return {}
    with safetensors.safe_open(path, "numpy") as file:
        return json.loads((file.metadata() or {}).get("about", "{}"))


def trained(path: Path, variables: dict[str, Any]) -> Trained:
    """The network of variables; what the file does not say follows from the shapes."""
    facts = about(path)
    given = facts.get("model")
    if given is None and "torchvision" in facts:
        given = torchvision.options(facts["torchvision"])
    flat = flax.traverse_util.flatten_dict(unrolled(variables))
    classes = translate.number_of_classes(flat)
    try:
        shape = tuple(facts["input"]["shape"][1:]) if "input" in facts else None
        model = recognize.own_network(flat, given, shape)
    except families.Unfit as unfit:
        raise UserError(f"{path}: {unfit}") from None
    images, names = facts.get("images"), facts.get("class_names")
    found = Trained(
        "cnn_jax",
        model | {"num_classes": classes},
        jax.tree.map(np.float32, variables),
        images_of(images) if images else None,
        tuple(names) if names else None,
    )
    return hub_folder.exported(found, facts) if "input" in facts else found


def images_of(facts: Mapping[str, Any]) -> Images:
    """What a file says that its weights expect; JSON has lists for tuples."""
    means = {name: tuple(facts[name]) for name in ("mean", "std")}
    return Images(facts["size"], **means, channels=facts["channels"])
