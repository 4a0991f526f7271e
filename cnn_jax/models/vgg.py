"""Simonyan & Zisserman (2014), arXiv:1409.1556: very deep networks of 3x3 convolutions.

Table 1: the number of convolutions before each of the five 2x2 max-poolings:

    group  channels  output     A   B   C   D   E
    conv1     64     224x224    1   2   2   2   2
    conv2    128     112x112    1   2   2   2   2
    conv3    256      56x56     2   2   3   3   4     C: the third one is 1x1
    conv4    512      28x28     2   2   3   3   4     C: the third one is 1x1
    conv5    512      14x14     2   2   3   3   4     C: the third one is 1x1
    fc6, fc7, fc8: 4096, 4096, classes
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax import errors
from cnn_jax.models import layers, pooling
from cnn_jax.models.linear import linear

Array = jax.Array

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {  # by depth: how many in conv1 to conv5
    11: (1, 1, 2, 2, 2),  # A
    13: (2, 2, 2, 2, 2),  # B
    16: (2, 2, 3, 3, 3),  # D, and C with `conv1x1`
    19: (2, 2, 4, 4, 4),  # E
}
POOLED = 7  # side of the map that fc6 sees

# Initializers of convolutions and of linear layers. The paper has N(0, variance 0.01) everywhere.
WEIGHT_INITS = {
    "paper": (nn.initializers.normal(0.1), nn.initializers.normal(0.1)),
    "torchvision": (
        nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
        nn.initializers.normal(0.01),
    ),
}


class VGG(nn.Module):
    """Configurations A to E: images [B, H, W, C] -> logits [B, classes].

    Images have at least 32x32 pixels. The map before fc6 is averaged to 7x7 (torchvision's adaptive
    pooling) unless it is 7x7 already, as at 224x224.

    `depth`: 11 (A), 13 (B), 16 (D) or 19 (E).
    `conv1x1`: configuration C, at depth 16: the last convolution of conv3, conv4 and conv5 is 1x1.
    `lrn`: configuration A-LRN, at any depth: AlexNet's response normalization after conv1_1.
    `batch_norm`: follows every convolution, which keeps its bias; torchvision's `_bn`, not the
    paper's.
    `dropout`: fraction of the activations that is dropped after fc6 and fc7.
    `fc_width`: number of units of fc6 and fc7, 4096 in the paper.
    `weight_init`: "paper" or "torchvision"; biases start at 0 in both. The paper trains only A from
    its initialization, and starts the deeper ones from a trained A.
    `fully_convolutional`: evaluates images larger than 224x224 (section 3.2): fc6 to fc8 slide over
    the map, which is not averaged to 7x7, and the logits are the mean over all positions.
    `bn_group_size`: examples that share batch statistics; None means the whole batch.
    """

    num_classes: int
    depth: int = 16
    conv1x1: bool = False
    lrn: bool = False
    batch_norm: bool = False
    dropout: float = 0.5
    fc_width: int = 4096
    weight_init: str = "paper"
    fully_convolutional: bool = False
    bn_group_size: int | None = None
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        if self.depth not in CONVOLUTIONS:
            raise errors.UserError(f"vgg: depth {self.depth} is not one of 11, 13, 16 and 19")
        if self.conv1x1 and self.depth != 16:
            raise errors.UserError(f"vgg: conv1x1 (configuration C) has depth 16, not {self.depth}")
        if self.weight_init not in WEIGHT_INITS:
            raise errors.unknown("weight_init of vgg", self.weight_init, WEIGHT_INITS)
        layers.require_fractions("vgg", dropout=self.dropout)
        if self.fc_width < 1:
            raise errors.UserError(f"vgg: fc_width {self.fc_width} is less than 1")

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        layers.require_size("vgg", images, 32)
        x = images
        groups = zip(CHANNELS, CONVOLUTIONS[self.depth], strict=True)
        for group, (channels, count) in enumerate(groups, 1):
            for i in range(1, count + 1):
                x = self._conv(f"{group}_{i}", x, channels, train)
            x = pooling.max_pool(x, window=2, stride=2, padding=0)
        dense = functools.partial(
            linear, self.fully_convolutional, kernel_init=WEIGHT_INITS[self.weight_init][1]
        )
        if not self.fully_convolutional:
            x = pooling.adaptive_avg_pool(x, POOLED).reshape(x.shape[0], -1)
        for name, side in (("fc6", POOLED), ("fc7", 1)):
            x = nn.relu(dense(side, self.fc_width, dtype=self.dtype, name=name)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        full = jnp.promote_types(self.dtype, jnp.float32)
        logits = dense(1, self.num_classes, dtype=full, name="fc8")(x.astype(full))
        return logits.mean((1, 2)) if self.fully_convolutional else logits

    def _conv(self, position: str, x: Array, channels: int, train: bool) -> Array:
        """Convolution, batch norm if any, ReLU; `position` in the table: "3_1" is conv3_1."""
        kernel = 1 if self.conv1x1 and position in ("3_3", "4_3", "5_3") else 3
        x = layers.Conv(
            channels,
            (kernel, kernel),
            padding=kernel // 2,
            kernel_init=WEIGHT_INITS[self.weight_init][0],
            dtype=self.dtype,
            name=f"conv{position}",
        )(x)
        if self.batch_norm:
            norm = layers.BatchNorm(self.bn_group_size, dtype=self.dtype, name=f"bn{position}")
            x = norm(x, train)
        x = nn.relu(x)
        if self.lrn and position == "1_1":
            x = pooling.local_response_norm(x, size=5, alpha=5e-4, beta=0.75, k=2.0)
        return x
