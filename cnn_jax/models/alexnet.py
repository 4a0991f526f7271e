"""Krizhevsky, Sutskever & Hinton (2012): AlexNet, as in the paper, in Caffe and with one tower.

    layer  kernel   padding  channels           output at 227x227
    conv1  11x11/4           96                 55x55    ReLU, response normalization
    pool1  3x3/2                                27x27
    conv2  5x5      2        256, two groups    27x27    ReLU, response normalization
    pool2  3x3/2                                13x13
    conv3  3x3      1        384                13x13
    conv4  3x3      1        384, two groups    13x13
    conv5  3x3      1        256, two groups    13x13
    pool5  3x3/2                                6x6
    fc6    4096, dropout
    fc7    4096, dropout
    fc8    classes

The groups are the two GPUs of the paper. Its text says 224x224; its layers need 227x227.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax import errors
from cnn_jax.models import layers, pooling
from cnn_jax.models.linear import linear

Array = jax.Array

POOLED = 6  # side of the map that fc6 sees


class Variant(NamedTuple):
    channels: tuple[int, ...]  # conv1 to conv5
    groups: int  # of conv2, conv4 and conv5
    conv1_padding: int
    lrn_alpha: float | None  # the sum is divided by its number of channels; None: no LRN
    lrn_k: float
    ceil: bool  # pooling rounds the size of its output up
    dropout_first: bool  # before fc6 and fc7 instead of after them
    hidden_std: float | None  # of the weights of fc6 and fc7; None: Torch's defaults everywhere
    hidden_bias: float  # initial bias of conv2, conv4, conv5, fc6 and fc7
    smallest: int  # side of the smallest image for which no map becomes empty


VARIANTS = {
    # The paper prints alpha = 1e-4 for a sum over five channels that is not divided by 5.
    "paper": Variant(
        (96, 256, 384, 384, 256), 2, 0, 5e-4, 2.0, True, False, 0.01, 1.0, smallest=39
    ),
    # BVLC's bvlc_alexnet/train_val.prototxt.
    "caffe": Variant(
        (96, 256, 384, 384, 256), 2, 0, 1e-4, 1.0, True, False, 0.005, 0.1, smallest=39
    ),
    # Krizhevsky (2014), arXiv:1404.5997, in the form of torchvision's `alexnet`.
    "one_tower": Variant(
        (64, 192, 384, 256, 256), 1, 2, None, 0.0, False, True, None, 0.0, smallest=63
    ),
}


def _uniform(bound: float):
    """Initializer U(-bound, bound)."""
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


class AlexNet(nn.Module):
    """AlexNet: images [B, H, W, C] -> logits [B, classes].

    Images have at least 39x39 pixels ("one_tower": 63x63). The map before fc6 is averaged to 6x6
    (torchvision's adaptive pooling) unless it is 6x6 already, as at 227x227 ("one_tower": 224x224).

    `variant`: "paper" (two groups, response normalization, hidden biases 1), "caffe" (BVLC's
    bvlc_alexnet: hidden biases 0.1, weaker normalization) or "one_tower" (torchvision's: no groups,
    no normalization).
    `dropout`: fraction of the activations that is dropped around fc6 and fc7.
    `fc_width`: number of units of fc6 and fc7, 4096 in the paper.
    `fully_convolutional`: evaluates images larger than 227x227 as VGG does: fc6 to fc8 slide over
    the map, which is not averaged to 6x6, and the logits are the mean over all positions.
    """

    num_classes: int
    variant: str = "paper"
    dropout: float = 0.5
    fc_width: int = 4096
    fully_convolutional: bool = False
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        if self.variant not in VARIANTS:
            raise errors.unknown("variant of alexnet", self.variant, VARIANTS)
        layers.require_fractions("alexnet", dropout=self.dropout)
        if self.fc_width < 1:
            raise errors.UserError(f"alexnet: fc_width {self.fc_width} is less than 1")

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        variant = VARIANTS[self.variant]
        layers.require_size("alexnet", images, variant.smallest)
        c1, c2, c3, c4, c5 = variant.channels
        x = self._conv("conv1", images, c1, kernel=11, stride=4, padding=variant.conv1_padding)
        x = self._pool(self._normalize(x))
        x = self._conv("conv2", x, c2, kernel=5, padding=2, split=True)
        x = self._pool(self._normalize(x))
        x = self._conv("conv3", x, c3, kernel=3, padding=1)
        x = self._conv("conv4", x, c4, kernel=3, padding=1, split=True)
        x = self._conv("conv5", x, c5, kernel=3, padding=1, split=True)
        x = self._pool(x)
        if not self.fully_convolutional:
            x = pooling.adaptive_avg_pool(x, POOLED).reshape(x.shape[0], -1)
        for name, side in (("fc6", POOLED), ("fc7", 1)):
            if variant.dropout_first:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
            x = nn.relu(self._linear(name, x, self.fc_width, side))
            if not variant.dropout_first:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        logits = self._linear("fc8", layers.at_least_float32(x), self.num_classes, 1)
        return logits.mean((1, 2)) if self.fully_convolutional else logits

    def _conv(self, name, x, channels, kernel, padding, stride=1, split=False) -> Array:
        variant = VARIANTS[self.variant]
        groups = variant.groups if split else 1
        fan_in = x.shape[-1] // groups * kernel**2
        kernel_init, bias_init = self._initializers(fan_in, std=0.01, hidden=split)
        conv = layers.Conv(
            channels,
            (kernel, kernel),
            strides=stride,
            padding=padding,
            feature_group_count=groups,
            kernel_init=kernel_init,
            bias_init=bias_init,
            dtype=self.dtype,
            name=name,
        )
        return nn.relu(conv(x))

    def _linear(self, name, x, units, side) -> Array:
        """Linear, on a flattened map or on each window of `side` x `side` of a larger map."""
        hidden = name != "fc8"
        std = VARIANTS[self.variant].hidden_std if hidden else 0.01
        fan_in = x.shape[-1] * (side**2 if self.fully_convolutional else 1)
        kernel_init, bias_init = self._initializers(fan_in, std, hidden)
        return linear(
            self.fully_convolutional,
            side,
            units,
            kernel_init=kernel_init,
            bias_init=bias_init,
            dtype=self.dtype if hidden else jnp.promote_types(self.dtype, jnp.float32),
            name=name,
        )(x)

    def _initializers(self, fan_in, std, hidden):
        """Initializers of weights and biases; `hidden` layers have the higher initial bias."""
        variant = VARIANTS[self.variant]
        if variant.hidden_std is None:
            uniform = _uniform(fan_in**-0.5)
            return uniform, uniform
        bias = variant.hidden_bias if hidden else 0.0
        return nn.initializers.normal(std), nn.initializers.constant(bias)

    def _normalize(self, x: Array) -> Array:
        variant = VARIANTS[self.variant]
        if variant.lrn_alpha is None:
            return x
        return pooling.local_response_norm(
            x, size=5, alpha=variant.lrn_alpha, beta=0.75, k=variant.lrn_k
        )

    def _pool(self, x: Array) -> Array:
        ceil = VARIANTS[self.variant].ceil
        return pooling.max_pool(x, window=3, stride=2, padding=0, ceil=ceil)
