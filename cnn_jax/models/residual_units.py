"""The residual unit of He et al. (2016), arXiv:1512.03385, with the variants of arXiv:1603.05027.

Stochastic depth (Huang et al. 2016, arXiv:1603.09382) leaves whole branches out of a step.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax import errors
from cnn_jax.models import layers

Array = jax.Array


class Order(NamedTuple):
    """Where batch norm and ReLU stand in a unit, as in "bn relu"."""

    before: str  # before each convolution
    between: str  # after each convolution but the last
    last: str  # after the last convolution, before the addition
    after: str  # after the addition


# arXiv:1603.05027, Figure 4 (a) to (e) and Table 2.
ORDERS = {
    "original": Order("", "bn relu", "bn", "relu"),
    "BN after addition": Order("", "bn relu", "", "bn relu"),
    "ReLU before addition": Order("", "bn relu", "bn relu", ""),
    "ReLU-only pre-activation": Order("relu", "bn", "bn", ""),
    "full pre-activation": Order("bn relu", "", "", ""),
}
# Kernel sizes of the branch; "single" is the one-layer skip of arXiv:1603.05027, Table 3.
BLOCKS = {"basic": (3, 3), "bottleneck": (1, 3, 1), "single": (3,)}
SHORTCUTS = ("A", "B", "C", "average")
GATINGS = ("none", "exclusive", "shortcut-only")

# The papers cite He et al. (2015), which allows both fans. Torch's residual networks
# (fb.resnet.torch, resnet-1k-layers, torchvision) use the fan-out, and leave their last layer at
# Torch's default.
CONV_INITS = {"in": layers.he_fan_in, "out": layers.he_fan_out}
FC_INITS = {"in": layers.he_fan_in, "out": layers.torch_linear}


def activate(x: Array, steps: str, norm: Callable[[], nn.Module], train: bool) -> Array:
    """Applies `steps` of an `Order`, such as "bn relu", to x; `norm` makes the batch norm."""
    for step in steps.split():
        x = nn.relu(x) if step == "relu" else norm()(x, train)
    return x


def check(family: str, choices: Iterable[tuple[str, object, Iterable]]) -> None:
    """Raises `UserError` for the first (option, value, allowed values) that is not allowed."""
    for option, value, allowed in choices:
        if value not in allowed:
            raise errors.unknown(f"{option} of {family}", str(value), allowed)


def survival(death_rate: float, counts: Sequence[int]) -> list[Array | None]:
    """The survival probabilities of the units of each stage, float32 [count]; None: all survive.

    They fall linearly from 1 at the input to 1 - `death_rate` at the last unit (arXiv:1603.09382,
    section 3); `counts` are the numbers of units in the stages.
    """
    if not death_rate:
        return [None] * len(counts)
    rates = 1 - death_rate * np.arange(1, sum(counts) + 1) / sum(counts)
    return [jnp.float32(stage) for stage in np.split(rates, np.cumsum(counts)[:-1])]


def zero_pad(x: Array, channels: int) -> Array:
    """Appends channels of zeros to [B, H, W, C] (some ports put half of them in front)."""
    return jnp.pad(x, ((0, 0),) * 3 + ((0, channels - x.shape[-1]),))


def shortcut_a(x: Array, channels: int, stride: int) -> Array:
    """Option A: takes every stride-th pixel and adds channels of zeros (section 3.3)."""
    return zero_pad(x[:, ::stride, ::stride], channels)


def shortcut_average(x: Array, channels: int, stride: int) -> Array:
    """Option A with average pooling instead of sub-sampling (released code of stochastic depth)."""
    if stride > 1:
        x = nn.avg_pool(
            x,
            window_shape=(stride, stride),
            strides=(stride, stride),
            # The last row of an odd height gets a window too: the branch has the same size then.
            padding=[(0, -size % stride) for size in x.shape[1:3]],
            count_include_pad=False,
        )
    return zero_pad(x, channels)


class ResidualUnit(nn.Module):
    """y = after(shortcut(x) + branch(x)): [B, H, W, C] -> [B, H / stride, W / stride, channels].

    `kernels`: kernel sizes, see `BLOCKS`; all convolutions but the last have `inner` channels.
    `strided`: index of the convolution that has the stride.
    `groups`: number of groups of the 3x3 convolutions.
    `activated`: x is already activated, as at the first unit of a network.
    `residual`: False removes the shortcut, for a plain network.
    `order`: see `ORDERS`. Where a pre-activated unit changes the dimensions, its first activation
        stands before the split, and the shortcut sees it too (arXiv:1603.05027, appendix).
    `shortcut`: "B" projects where the dimensions change, "C" always, "A" and "average" never. The
        projection has a batch norm where the last convolution of the branch has one.
    `shortcut_bn`: False leaves that batch norm of the projection out.
    `gating`, `gate_bias`, `shortcut_scale`, `residual_scale`, `shortcut_dropout`: arXiv:1603.05027,
        Table 1.
    `zero_init_gamma`: the branch starts at zero (not in the papers).
    `same_padding`: convolutions are padded as by TensorFlow's SAME (not in the papers).
    """

    kernels: tuple[int, ...]
    inner: int
    channels: int
    stride: int
    strided: int = 0
    groups: int = 1
    activated: bool = False
    residual: bool = True
    order: str = "original"
    shortcut: str = "A"
    shortcut_bn: bool = True
    gating: str = "none"
    gate_bias: float = 0.0
    shortcut_scale: float = 1.0
    residual_scale: float = 1.0
    shortcut_dropout: float = 0.0
    zero_init_gamma: bool = False
    same_padding: bool = False
    init_fan: str = "in"
    bn_group_size: int | None = None
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array, train: bool, survival: Array | None = None) -> Array:
        """`survival`: probability that a training step keeps the branch; None: it always does."""
        order = ORDERS[self.order]
        activated = self.activated
        if self._changes(x) and not activated:
            x = activate(x, order.before, self._norm("bn1"), train)
            activated = True
        y = self._branch_or_nothing(x, train, activated, survival)
        if self.residual:
            y = self._add(x, y, train)
        return activate(y, order.after, self._norm(f"bn{len(self.kernels)}"), train)

    def _changes(self, x):
        return self.stride != 1 or x.shape[-1] != self.channels

    def _conv(self, channels, kernel, **options):
        return layers.Conv(
            channels,
            (kernel, kernel),
            padding="SAME" if self.same_padding else kernel // 2,
            kernel_init=CONV_INITS[self.init_fan],
            dtype=self.dtype,
            **{"use_bias": False, **options},
        )

    def _norm(self, name, **options):
        return functools.partial(
            layers.BatchNorm, self.bn_group_size, dtype=self.dtype, name=name, **options
        )

    def _branch(self, x, train, activated):
        order = ORDERS[self.order]
        last = len(self.kernels) - 1
        for i, kernel in enumerate(self.kernels):
            norm = self._norm(f"bn{i + 1}")
            if i == last and self.zero_init_gamma:
                norm = self._norm(f"bn{i + 1}", scale_init=nn.initializers.zeros)
            if i > 0 or not activated:
                x = activate(x, order.before, norm, train)
            x = self._conv(
                self.channels if i == last else self.inner,
                kernel,
                strides=self.stride if i == self.strided else 1,
                feature_group_count=self.groups if kernel == 3 else 1,
                name=f"conv{i + 1}",
            )(x)
            x = activate(x, order.last if i == last else order.between, norm, train)
        return x

    def _branch_or_nothing(self, x, train, activated, survival):
        if survival is None:
            return self._branch(x, train, activated)
        if not train or self.is_initializing():
            y = self._branch(x, train, activated)
            return y * jnp.asarray(survival, y.dtype)
        # A dropped branch is not computed at all, so its running statistics do not change.
        height, width = (-(-size // self.stride) for size in x.shape[1:3])
        shape = (x.shape[0], height, width, self.channels)
        return nn.cond(
            jax.random.bernoulli(self.make_rng("dropout"), survival),
            lambda unit, x: unit._branch(x, train, activated),
            lambda unit, x: jnp.zeros(shape, self.dtype),
            self,
            x,
        )

    def _add(self, x, y, train):
        skip = self._shortcut(x, train)
        if self.gating != "none":
            gate = nn.sigmoid(
                self._conv(
                    self.channels,
                    1,
                    strides=self.stride,
                    use_bias=True,
                    bias_init=nn.initializers.constant(self.gate_bias),
                    name="gate",
                )(x)
            )
            skip = (1 - gate) * skip
            if self.gating == "exclusive":
                y = gate * y
        if self.shortcut_dropout:
            # Flax divides by 1 - rate; undo that: the paper has an expected scale of 0.5.
            skip = nn.Dropout(self.shortcut_dropout, deterministic=not train)(skip)
            skip = skip * (1 - self.shortcut_dropout)
        return self.shortcut_scale * skip + self.residual_scale * y

    def _shortcut(self, x, train):
        if self.shortcut == "C" or (self.shortcut == "B" and self._changes(x)):
            y = self._conv(self.channels, 1, strides=self.stride, name="shortcut")(x)
            if self.shortcut_bn and "bn" in ORDERS[self.order].last:
                y = self._norm("shortcut_bn")()(y, train)
            return y
        if not self._changes(x):
            return x
        reduce = shortcut_average if self.shortcut == "average" else shortcut_a
        return reduce(x, self.channels, self.stride)


class Stage(nn.Module):
    """`count` blocks one after the other; `block(stride=..., name=...)` makes one.

    The first has the stride, the others are equal to each other. In a stage of nine or more the
    others become one `lax.scan`, so that a stage of 200 compiles like a stage of one: variables are
    in `block1` and, stacked along a leading axis, in `blocks`. Fewer, or with `unroll`, stand in
    `block1`, `block2`, ... `first_block` makes the first one where it differs by more than its
    stride. Each block gets its own entry of `per_block` [count, ...], as a third argument. `remat`
    keeps the inputs of the blocks only, and computes the rest again for the gradient: less memory,
    a third more work.
    """

    block: Callable[..., nn.Module]
    count: int
    stride: int
    unroll: bool
    first_block: Callable[..., nn.Module] | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, train: bool, per_block: Array | None = None) -> Array:
        entries = () if per_block is None else (per_block,)

        def apply(block, x, own):
            return block(x, train, *own)

        if self.remat:
            apply = nn.remat(apply)
        first_block = self.first_block or self.block
        first = first_block(stride=self.stride, name="block1")
        x = apply(first, x, tuple(entry[0] for entry in entries))
        if self.unroll or self.count < 9:
            for i in range(2, self.count + 1):
                block = self.block(stride=1, name=f"block{i}")
                x = apply(block, x, tuple(entry[i - 1] for entry in entries))
            return x
        scan = nn.scan(
            lambda block, carry, own: (apply(block, carry, own), None),
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "dropout": True},
            length=self.count - 1,
        )
        blocks = self.block(stride=1, name="blocks")
        return scan(blocks, x, tuple(entry[1:] for entry in entries))[0]


def unrolled(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a network of `Stage`s that are scans, for the same network with `unroll`."""
    tree = {k: unrolled(v) if isinstance(v, Mapping) else v for k, v in variables.items()}
    if "blocks" in tree:
        stacked = tree.pop("blocks")
        for i in range(len(jax.tree.leaves(stacked)[0])):
            tree[f"block{i + 2}"] = jax.tree.map(lambda array, i=i: array[i], stacked)
    return tree
