"""Layers that the Inception networks share, and the notation of their tables.

A string is a step: "3x3/2 V 384" is a 3x3 convolution of stride 2 to 384 channels without padding
(V as in valid; without the V the map keeps its size), "avg 3x3" an average pool of stride 1, "max
3x3/2 V" a max pool. A branch is a tuple of consecutive steps; a tuple inside it holds parallel
steps, whose outputs are concatenated. A module is a tuple of branches, concatenated likewise.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax.models import layers, pooling

Array = jax.Array

_NOTATION = re.compile(r"(?:(max|avg) )?(\d)x(\d)(?:/(\d))?( V)?(?: (\d+))?")


class Step(NamedTuple):
    kind: str  # "conv", "max" or "avg"
    size: tuple[int, int]
    stride: int
    padding: tuple[int, int]
    channels: int  # 0 for a pool


def parse(text: str) -> Step:
    """Reads one step, such as "3x3/2 V 384"."""
    kind, height, width, stride, valid, channels = _NOTATION.fullmatch(text).groups()
    size = int(height), int(width)
    padding = (0, 0) if valid else (size[0] // 2, size[1] // 2)
    return Step(kind or "conv", size, int(stride or 1), padding, int(channels or 0))


class ConvUnit(nn.Module):
    """Convolution, batch norm (a bias where `norm` is None), ReLU: [B, H, W, C] -> [B, H', W', C'].

    `padding`: rows above and below, columns left and right. `norm(name=...)` makes the batch norm.
    """

    channels: int
    size: tuple[int, int]
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    norm: Callable[..., nn.Module] | None = None
    kernel_init: Callable = layers.he_fan_in
    bias_init: Callable = nn.initializers.zeros
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        rows, columns = self.padding
        x = layers.Conv(
            self.channels,
            self.size,
            strides=self.stride,
            padding=((rows, rows), (columns, columns)),
            use_bias=self.norm is None,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
            name="conv",
        )(x)
        return nn.relu(x if self.norm is None else self.norm(name="bn")(x, train))


def apply_step(
    text: str, x: Array, train: bool, conv: Callable[..., nn.Module], pad_counts: bool, name: str
) -> Array:
    """Applies one step to x; `conv` makes the `ConvUnit` of this `name`."""
    step = parse(text)
    if step.kind == "conv":
        return conv(step.channels, step.size, step.stride, step.padding, name=name)(x, train)
    if step.kind == "max":
        return pooling.max_pool(x, step.size[0], step.stride, step.padding[0])
    return pooling.avg_pool(x, step.size[0], step.stride, step.padding[0], pad_counts)


def named_steps(branch: tuple) -> list[list[tuple[str, str]]]:
    """The steps of a branch as (name, step): a list for each position, with its parallel steps.

    Names follow tf-slim: "Conv2d_0b_5x5" is the second position; "1a" marks the stride.
    """

    def name(position: int, text: str) -> str:
        step = parse(text)
        at = "1a" if step.stride == 2 else "0" + "abcde"[position]
        kind = {"conv": "Conv2d", "max": "MaxPool", "avg": "AvgPool"}[step.kind]
        return f"{kind}_{at}_{step.size[0]}x{step.size[1]}"

    positions = [(steps,) if isinstance(steps, str) else steps for steps in branch]
    return [[(name(i, text), text) for text in steps] for i, steps in enumerate(positions)]


class Branch(nn.Module):
    """One branch of a module: [B, H, W, C] -> [B, H', W', C']."""

    steps: tuple
    conv: Callable[..., nn.Module]
    pad_counts: bool

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        for parallel in named_steps(self.steps):
            outputs = [
                apply_step(text, x, train, self.conv, self.pad_counts, name)
                for name, text in parallel
            ]
            x = jnp.concatenate(outputs, -1)
        return x


class Mixed(nn.Module):
    """An Inception module: parallel branches, whose channels are concatenated in this order."""

    branches: tuple
    conv: Callable[..., nn.Module]
    pad_counts: bool

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        outputs = [
            Branch(branch, self.conv, self.pad_counts, name=f"Branch_{i}")(x, train)
            for i, branch in enumerate(self.branches)
        ]
        return jnp.concatenate(outputs, -1)


def smallest_input(table: dict[str, str | tuple], grid: int = 1) -> int:
    """Height or width of the smallest image whose map after this table has `grid` pixels a side."""
    for content in reversed(table.values()):
        # All branches end on the same grid; in the last one only the first step changes it.
        step = parse(content if isinstance(content, str) else content[-1][0])
        grid = (grid - 1) * step.stride + step.size[0] - 2 * step.padding[0]
    return grid
