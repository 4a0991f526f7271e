"""Zagoruyko & Komodakis (2016), arXiv:1605.07146: wide residual networks for 32x32 images.

Table 1, block B(3,3), depth = 6N + 4:

    group  output  content
    conv1  32x32   [3x3, 16]
    conv2  32x32   [3x3, 16k; 3x3, 16k] x N
    conv3  16x16   [3x3, 32k; 3x3, 32k] x N
    conv4   8x8    [3x3, 64k; 3x3, 64k] x N
    pool    1x1    average

Tables 2 and 3 compare other blocks, see `BLOCKS`; all convolutions of a block have the same width.
"""

import functools

import flax.linen as nn
import jax

from cnn_jax import errors
from cnn_jax.models import layers, residual_units
from cnn_jax.models.residual_units import Stage

Array = jax.Array

# The released Torch7 code leaves the scale of its batch norms at Torch7's default, U(0, 1).
GAMMA = {"uniform": layers.unit_uniform, "ones": nn.initializers.ones}


# Kernel sizes (section 3, Table 2). A group has N = (depth - 4) / 6 blocks for any number of
# convolutions in a block: no other count gives the published numbers of parameters.
BLOCKS = {
    "B(3,3)": (3, 3),
    "B(3,1,3)": (3, 1, 3),
    "B(1,3,1)": (1, 3, 1),
    "B(1,3)": (1, 3),
    "B(3,1)": (3, 1),
    "B(3,1,1)": (3, 1, 1),
}


class WideBlock(nn.Module):
    """BN-ReLU-conv-BN-ReLU-[dropout]-conv, Figure 1; pre-activation (arXiv:1603.05027).

    `kernels`: kernel sizes of its convolutions. BN-ReLU precedes each; the first has the stride;
    dropout precedes the others. Where the number of channels changes, the 1x1 shortcut convolution
    sees the output of the first BN-ReLU too (released code, models/wide-resnet.lua).
    """

    kernels: tuple[int, ...]
    channels: int
    stride: int
    dropout: float
    gamma: str
    bn_group_size: int | None
    dtype: str
    init_fan: str = "in"

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        conv = functools.partial(
            layers.Conv,
            self.channels,
            use_bias=False,
            kernel_init=residual_units.CONV_INITS[self.init_fan],
            dtype=self.dtype,
        )
        norm = functools.partial(
            layers.BatchNorm, self.bn_group_size, scale_init=GAMMA[self.gamma], dtype=self.dtype
        )
        y = nn.relu(norm(name="bn1")(x, train))
        if x.shape[-1] != self.channels:
            x = conv((1, 1), strides=self.stride, padding=0, name="shortcut")(y)
        first, *others = self.kernels
        y = conv((first, first), strides=self.stride, padding=first // 2, name="conv1")(y)
        for i, kernel in enumerate(others, 2):
            y = nn.relu(norm(name=f"bn{i}")(y, train))
            y = nn.Dropout(self.dropout, deterministic=not train)(y)
            y = conv((kernel, kernel), padding=kernel // 2, name=f"conv{i}")(y)
        return x + y


class WideResNet(nn.Module):
    """WRN-depth-width: images [B, H, W, C] -> logits [B, classes].

    `block`: "B(3,3)" or another of `BLOCKS`, Table 2. The depth is 6N + 4 for each of them, though
        it counts the layers only where a block has two convolutions.
    `deepening`: number of 3x3 convolutions in a block, l of Table 3; the depth is 3Nl + 4 then.
    `dropout`: fraction of the activations that is dropped; 0.3 for CIFAR (section 3.3).
    `gamma`: initial scale of the batch norms, "uniform" as in the released code, or "ones".
    `init_fan`: He's initialization of the convolutions by fan "in", or "out" as in the released
        code before 2016-09-08, and so in the results of May 2016 (Tables 2 to 4).
    `bn_group_size`: examples that share batch statistics; None means the whole batch.
    `unroll`: keeps the blocks of long stages separate; otherwise a stage is one `lax.scan`.
    `remat`: saves memory: the backward pass computes the inside of each block again.
    """

    num_classes: int
    depth: int = 28
    width: int = 10
    block: str = "B(3,3)"
    deepening: int = 2
    dropout: float = 0.0
    gamma: str = "uniform"
    init_fan: str = "in"
    bn_group_size: int | None = None
    unroll: bool = False
    remat: bool = False
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        if self.block not in BLOCKS:
            raise errors.unknown("block of wide_resnet", self.block, BLOCKS)
        if self.deepening < 1 or (self.deepening != 2 and self.block != "B(3,3)"):
            raise errors.UserError(
                f"wide_resnet: deepening {self.deepening} with block {self.block}; it is a number "
                "of 3x3 convolutions, at least 1, and other blocks than B(3,3) take none"
            )
        step = 3 * self.deepening
        if self.depth < step + 4 or (self.depth - 4) % step:
            raise errors.UserError(
                f"wide_resnet: depth {self.depth} is not {step}N + 4; "
                "the paper has 16, 22, 28, 40 and 52, and 40 for every deepening"
            )
        if self.width < 1:
            raise errors.UserError(f"wide_resnet: width {self.width} is less than 1")
        layers.require_fractions("wide_resnet", dropout=self.dropout)
        if self.dropout and self.deepening == 1:
            raise errors.UserError(
                "wide_resnet: dropout stands between the convolutions of a block; with "
                "deepening 1 there is one"
            )
        if self.gamma not in GAMMA:
            raise errors.unknown("gamma of wide_resnet", self.gamma, GAMMA)
        if self.init_fan not in residual_units.CONV_INITS:
            raise errors.unknown(
                "init_fan of wide_resnet", self.init_fan, residual_units.CONV_INITS
            )

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        x = layers.Conv(
            16,
            (3, 3),
            padding=1,
            use_bias=False,
            kernel_init=residual_units.CONV_INITS[self.init_fan],
            dtype=self.dtype,
            name="conv1",
        )(images)
        k = self.width
        for group, channels, stride in [
            ("conv2", 16 * k, 1),
            ("conv3", 32 * k, 2),
            ("conv4", 64 * k, 2),
        ]:
            block = functools.partial(
                WideBlock,
                kernels=(3,) * self.deepening if self.block == "B(3,3)" else BLOCKS[self.block],
                channels=channels,
                dropout=self.dropout,
                gamma=self.gamma,
                bn_group_size=self.bn_group_size,
                dtype=self.dtype,
                init_fan=self.init_fan,
            )
            count = (self.depth - 4) // (3 * self.deepening)
            x = Stage(block, count, stride, self.unroll, remat=self.remat, name=group)(x, train)
        norm = layers.BatchNorm(
            self.bn_group_size, scale_init=GAMMA[self.gamma], dtype=self.dtype, name="bn"
        )
        x = layers.at_least_float32(nn.relu(norm(x, train)).mean((1, 2)))
        return nn.Dense(self.num_classes, kernel_init=layers.torch_linear, name="fc")(x)
