"""Output shapes, parameters and multiply-adds of each layer, counted without computing."""

import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data
from cnn_jax.errors import UserError
from cnn_jax.models import layers
from cnn_jax.models.cpu.xla import eval_shape


class Layer(NamedTuple):
    name: str  # path in the network, "conv2/block1/conv1"
    kind: str
    input_shape: tuple[int, ...]  # without the batch: [H, W, C] or [C]
    output_shape: tuple[int, ...]  # the same
    kernel_shape: tuple[int, ...]  # [height, width, in / groups, out], [in, out], or empty
    parameters: int
    multiply_adds: int
    activation_bytes: int  # of the output, float32, batch 1


def layers_of(model: nn.Module, image_shape: tuple[int, int, int]) -> list[Layer]:
    """Every layer with parameters, in order, for one image [H, W, C].

    Multiply-adds are those of convolutions and linear layers, which the papers call FLOPs. They
    include the taps on padding, and leave out biases and batch norm.
    """
    found: list[Layer] = []

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        module = context.module
        if context.method_name == "__call__" and isinstance(
            module, nn.Conv | nn.Dense | layers.BatchNorm
        ):
            params = module.variables["params"]
            kernel = params["kernel"].shape if "kernel" in params else ()
            positions = math.prod(output.shape[1:-1]) if kernel else 0
            found.append(
                Layer(
                    name="/".join(module.path),
                    kind=type(module).__name__,
                    input_shape=arguments[0].shape[1:],
                    output_shape=output.shape[1:],
                    kernel_shape=kernel,
                    parameters=sum(math.prod(p.shape) for p in jax.tree.leaves(params)),
                    multiply_adds=positions * math.prod(kernel),
                    activation_bytes=4 * math.prod(output.shape),
                )
            )
        return output

    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    with nn.intercept_methods(note):
        shapes = eval_shape(model.init, jax.random.key(0), image)
    return list(_unrolled({layer.name: layer for layer in found}, shapes["params"]))


def _unrolled(found: dict[str, Layer], params: Any) -> Iterator[Layer]:
    """The layers, those of a scanned stage ("conv4/blocks/conv1") once for each of its blocks."""
    by_stage = itertools.groupby(found.values(), lambda layer: layer.name.rpartition("/blocks/")[0])
    for stage, rows in by_stage:
        if not stage:
            yield from rows
            continue
        body = list(rows)
        stacked = functools.reduce(lambda tree, name: tree[name], stage.split("/"), params)
        count = jax.tree.leaves(stacked["blocks"])[0].shape[0]
        for number in range(2, count + 2):
            for layer in body:
                name = layer.name.replace("/blocks/", f"/block{number}/")
                yield layer._replace(name=name)


def total(rows: Iterable[Layer], quantity: str, auxiliary: bool = True) -> int:
    """The sum of a field of all layers, with or without those of auxiliary heads."""
    counted = (row for row in rows if auxiliary or not row.name.lower().startswith("aux"))
    return sum(getattr(row, quantity) for row in counted)


def input_of(
    config: ConfigDict, image: str | None, classes: int | None
) -> tuple[tuple[int, int, int], int]:
    """Image shape [H, W, C] and number of classes, as given, or else those of the data.

    Args:
      image: "HxWxC".

    Raises:
      UserError: an image that is not of that form, or data that cannot be read.
    """
    shape = None
    if image:
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", image):
            raise UserError(f"--image={image}: write HxWxC, such as 32x32x3", 2)
        height, width, channels = map(int, image.split("x"))
        shape = (height, width, channels)
    if shape and classes:
        return shape, classes
    dataset = configs.call(data.open, "data", config.data)
    shape = shape or data.image_shape(dataset, config.view.train.to_dict())
    return shape, classes or len(dataset.class_names)
