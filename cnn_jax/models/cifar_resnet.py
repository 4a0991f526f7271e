"""He et al. (2016), arXiv:1512.03385, section 4.2: residual and plain networks for 32x32 images.

output map size |  32x32  |  16x16  |  8x8
number of layers|  1+2n   |   2n    |   2n       depth = 6n + 2
filters         |   16    |   32    |   64
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax import errors
from cnn_jax.models import layers

Array = jax.Array


def shortcut_a(x: Array, channels: int, stride: int) -> Array:
    """Option A (section 3.3): every stride-th pixel, additional channels zero; no parameters."""
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0),) * 3 + ((0, channels - x.shape[-1]),))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, Figure 2; without the shortcut where `residual` is False."""

    channels: int
    stride: int
    residual: bool
    bn_group_size: int | None
    dtype: str

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        conv = functools.partial(
            layers.Conv,
            self.channels,
            (3, 3),
            padding=1,
            use_bias=False,
            kernel_init=layers.he_fan_in,
            dtype=self.dtype,
        )
        norm = functools.partial(layers.BatchNorm, self.bn_group_size, dtype=self.dtype)
        y = conv(strides=self.stride, name="conv1")(x)
        y = nn.relu(norm(name="bn1")(y, train))
        y = conv(name="conv2")(y)
        y = norm(name="bn2")(y, train)
        if self.residual:
            y = y + shortcut_a(x, self.channels, self.stride)
        return nn.relu(y)


class CifarResNet(nn.Module):
    """ResNet-20 to -1202 and their plain counterparts: images [B, H, W, C] -> logits [B, classes].

    `bn_group_size`: examples that share batch statistics; None is the whole batch.
    `unroll`: keeps long stages as separate blocks, where they are one `lax.scan` otherwise.
    """

    num_classes: int
    depth: int = 20
    residual: bool = True
    bn_group_size: int | None = None
    unroll: bool = False
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        if self.depth < 8 or (self.depth - 2) % 6:
            raise errors.UserError(
                f"cifar_resnet: depth {self.depth} is not 6n + 2; "
                "the paper has 20, 32, 44, 56, 110 and 1202"
            )

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        n = (self.depth - 2) // 6
        x = layers.Conv(
            16,
            (3, 3),
            padding=1,
            use_bias=False,
            kernel_init=layers.he_fan_in,
            dtype=self.dtype,
            name="conv1",
        )(images)
        x = nn.relu(layers.BatchNorm(self.bn_group_size, dtype=self.dtype, name="bn1")(x, train))
        for stage, channels, stride in [("conv2", 16, 1), ("conv3", 32, 2), ("conv4", 64, 2)]:
            block = functools.partial(
                BasicBlock,
                channels=channels,
                residual=self.residual,
                bn_group_size=self.bn_group_size,
                dtype=self.dtype,
            )
            x = layers.Stage(block, n, stride, self.unroll, name=stage)(x, train)
        x = x.mean((1, 2)).astype(jnp.float32)
        return nn.Dense(self.num_classes, kernel_init=layers.he_fan_in, name="fc")(x)
