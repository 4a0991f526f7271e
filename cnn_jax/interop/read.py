"""Reads trained weights from a file of any known format, alone or for a given network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import numpy as np

from cnn_jax.errors import UserError
from cnn_jax.interop import deep_compression, formats, hub_folder, own, recognize
from cnn_jax.interop.recognize import Trained
from cnn_jax.interop.sources.caffe import BVLC
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.residual_units import unrolled

SUFFIXES = (*formats.SUFFIXES, ".net")
# Options that change what a network computes from its weights, and not their shapes.
MEANING = ("stride_in", "ceil_pool", "same_padding", "count_include_pad", "conv10_padding")
# What the authors of the compressed SqueezeNet see of an image.
OF_NET = {"kind": "center", "size": 227, "resize": 256, "frame": "squash"}
OF_NET |= {"filters": ["bilinear"], "dct_scaling": False}


def trained(path: Path) -> Trained:
    """The network whose weights a file or a folder of a hub has, recognized by names and shapes.

    Without a classifier in it "num_classes" is None. Raises `UserError`: the file is damaged or
    something else, or the weights are of no known network: it names the nearest, and what differs.
    """
    if path.is_dir():
        path = hub_folder.weights_of(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"weights are in files {', '.join(SUFFIXES)}, not {path.name}", 2)
    if path.suffix == ".net":
        return authors_squeezenet(path)
    arrays = formats.by_name(path)
    if own.is_own(arrays):
        plain = own.without_collections(arrays)
        if not recognize.is_known(plain):
            return own.trained(path, nested(path, arrays))
        arrays = plain
    try:
        found = recognize.trained(arrays)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return hub_folder.described(found, path)


def authors_squeezenet(path: Path) -> Trained:
    """The authors' compressed SqueezeNet."""
    model = {"name": "squeezenet", "num_classes": 1000, "version": "1.0", "conv10_padding": 1}
    return Trained("Deep Compression", model, deep_compression.read(path), BVLC, None, OF_NET)


def variables(path: Path, model: nn.Module, image_shape: tuple[int, ...]) -> dict[str, Any]:
    """Reads variables {"params", "batch_stats"} (float32, NumPy) for `model` from a file.

    Args:
      path: whatever `trained` takes, or a file of arrays by our paths that belong to any network.
      image_shape: height, width and channels of the network's images.

    Raises:
      UserError: the file is something else, or holds the weights of another network.
    """
    if path.suffix in formats.SUFFIXES:
        arrays = formats.by_name(path)
        if own.is_own(arrays):
            return checked(path, model, image_shape, nested(path, arrays))
    found = trained(path)
    if found.model["num_classes"] is None:
        raise UserError(f"{path} has no classifier: its network ends before it")
    check_classes(path, found.model["num_classes"], model.num_classes)
    tell_other_network(path, found, model)
    units = unrolled if getattr(model, "unroll", False) else lambda tree: tree
    try:
        return checked(path, model, image_shape, units(found.variables))
    except UserError as error:
        what = f"they are {found.source}'s of {recognize.named(found.model)}"
        raise UserError(f"{error}; {what}") from None


def tell_other_network(path: Path, found: Trained, model: nn.Module) -> None:
    """Raises `UserError` that names the network of the weights where `model` is another one."""
    from cnn_jax import models

    family = models.family(found.model["name"])
    options = {k: v for k, v in found.model.items() if k not in ("name", "num_classes")}
    what = f"{path} has {found.source}'s weights of {recognize.named(found.model)}"
    if not isinstance(model, family):
        raise UserError(f"{what}, not of the {type(model).__name__} of the config")
    known = models.options(found.model["name"]) | options
    other = {k: v for k, v in known.items() if k in MEANING and getattr(model, k) != v}
    if other:
        wanted = " ".join(f"--config.model.{name}={value}" for name, value in other.items())
        raise UserError(f"{what}, which the config's becomes with {wanted}")


def nested(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Turns arrays by paths like "params/conv1/kernel" into nested dicts."""
    for key in arrays:
        if any(other.startswith(f"{key}/") for other in arrays):
            raise UserError(f"{path} has an array {key} and others below it")
    return flax.traverse_util.unflatten_dict(dict(arrays), sep="/")


def check_classes(path: Path, found: int, expected: int) -> None:
    """Raises `UserError` if a file has another number of classes than the data."""
    if found != expected:
        raise UserError(
            f"{path} has {found:,} classes and the data {expected:,}; where the data has only some "
            "of the classes, list all of them in a file: --config.data.class_list=FILE"
        )


def checked(
    path: Path, model: nn.Module, image_shape: tuple[int, ...], found: dict[str, Any]
) -> dict[str, Any]:
    """Returns the variables if they are the network's; auxiliary heads may be missing."""
    image = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
    shapes = eval_shape(model.init, jax.random.key(0), image)
    expected = {k: v.shape for k, v in flax.traverse_util.flatten_dict(shapes, sep="/").items()}
    arrays = flax.traverse_util.flatten_dict(found, sep="/")
    wrong = {k for k in expected.keys() & arrays.keys() if arrays[k].shape != expected[k]}
    for key in wrong:
        # The last layer alone has as many outputs as there are classes.
        if expected[key] == (model.num_classes,) and arrays[key].ndim == 1:
            check_classes(path, len(arrays[key]), model.num_classes)
    missing = {k for k in expected.keys() - arrays.keys() if "aux" not in k.lower()}
    lines = [f"{key}: missing" for key in missing]
    lines += [f"{key}: unknown" for key in arrays.keys() - expected.keys()]
    lines += [f"{k}: {list(arrays[k].shape)}, not {list(expected[k])}" for k in wrong]
    if lines:
        more = f"; and {len(lines) - 4} more" if len(lines) > 4 else ""
        raise UserError(
            f"{path} is not for the network of the config: {'; '.join(sorted(lines)[:4])}{more}"
        )
    return jax.tree.map(np.float32, found)
