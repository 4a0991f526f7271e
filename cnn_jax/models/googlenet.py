"""Szegedy et al. (2015), arXiv:1409.4842: GoogLeNet (Inception-v1), for images of 224x224.

What the paper leaves open (padding, initial values, response normalization) is as in Caffe's
bvlc_googlenet, where pools round their output size up.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax import errors
from cnn_jax.models import layers, pooling
from cnn_jax.models.inception_blocks import ConvUnit

Array = jax.Array

# Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj; output for 224x224x3
TABLE_1 = {
    # convolution 7x7/2: 112x112x64, max pool 3x3/2: 56x56x64
    # convolution 3x3/1, 64 reduce: 56x56x192, max pool 3x3/2: 28x28x192
    "inception_3a": (64, 96, 128, 16, 32, 32),  # 28x28x256
    "inception_3b": (128, 128, 192, 32, 96, 64),  # 28x28x480, max pool 3x3/2: 14x14x480
    "inception_4a": (192, 96, 208, 16, 48, 64),  # 14x14x512, first auxiliary classifier
    "inception_4b": (160, 112, 224, 24, 64, 64),  # 14x14x512
    "inception_4c": (128, 128, 256, 24, 64, 64),  # 14x14x512
    "inception_4d": (112, 144, 288, 32, 64, 64),  # 14x14x528, second auxiliary classifier
    "inception_4e": (256, 160, 320, 32, 128, 128),  # 14x14x832, max pool 3x3/2: 7x7x832
    "inception_5a": (256, 160, 320, 32, 128, 128),  # 7x7x832
    "inception_5b": (384, 192, 384, 48, 128, 128),  # 7x7x1024
    # average pool 7x7/1, dropout 40 %, linear, softmax
}

SMALLEST = {"paper": 31, "torchvision": 15}  # height and width of images


class Inception(nn.Module):
    """The module of Figure 2(b): [B, H, W, C] -> [B, H, W, #1x1 + #3x3 + #5x5 + pool proj].

    `filters`: a row of Table 1. `size_5x5`: 5; torchvision has 3.
    """

    filters: tuple[int, int, int, int, int, int]
    size_5x5: int
    conv: functools.partial

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        def conv(channels: int, size: int, name: str, x: Array) -> Array:
            pad = size // 2
            return self.conv(channels, (size, size), padding=(pad, pad), name=name)(x, train)

        n1, n3_reduce, n3, n5_reduce, n5, pool_proj = self.filters
        branch_1x1 = conv(n1, 1, "1x1", x)
        branch_3x3 = conv(n3, 3, "3x3", conv(n3_reduce, 1, "3x3_reduce", x))
        branch_5x5 = conv(n5, self.size_5x5, "5x5", conv(n5_reduce, 1, "5x5_reduce", x))
        pooled = pooling.max_pool(x, window=3, stride=1, padding=1)
        branch_pool = conv(pool_proj, 1, "pool_proj", pooled)
        return jnp.concatenate([branch_1x1, branch_3x3, branch_5x5, branch_pool], -1)


class AuxiliaryClassifier(nn.Module):
    """The side network of section 5: a map [B, 14, 14, C] -> logits [B, classes]."""

    num_classes: int
    variant: str
    dropout: float
    conv: functools.partial
    dense: functools.partial

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        if self.variant == "torchvision":
            x = pooling.adaptive_avg_pool(x, 4)
        else:
            x = pooling.avg_pool(x, window=5, stride=3, padding=0, count_include_pad=True)
        if x.shape[1:3] != (4, 4):
            raise errors.UserError(
                "googlenet: in training the auxiliary classifiers need images of 223 to 270 pixels "
                'on each side; choose such a size, auxiliary=False, or variant="torchvision"'
            )
        x = self.conv(128, (1, 1), name="conv")(x, train)
        # Flattened with channels first, as in Caffe and Torch: the weights of `fc` are theirs.
        x = layers.at_least_float32(x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1))
        x = nn.relu(self.dense(1024, name="fc")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return self.dense(self.num_classes, bias_init=nn.initializers.zeros, name="classifier")(x)


class GoogLeNet(nn.Module):
    """GoogLeNet: images [B, H, W, C] -> logits [B, classes].

    `variant`: "paper", or "torchvision", which has batch norm (epsilon 0.001) in place of biases
    and response normalization, 3x3 convolutions where the table has 5x5 (a known bug there), a 2x2
    pool after 4e, and auxiliary classifiers that pool to 4x4 whatever the size. It starts from
    N(0, 0.01), "paper" from Caffe's "xavier" and biases of 0.2 (0 in the classifiers).
    `auxiliary`: adds the two auxiliary classifiers. In training they sow their logits into the
    collection "aux_logits", as "4a" and "4d"; the paper weighs their losses by 0.3.
    `dropout`: fraction of the pooled features that is dropped; paper 0.4, torchvision 0.2.
    `auxiliary_dropout`: the same in the auxiliary classifiers.
    `bn_group_size`: "torchvision": examples that share batch statistics; None: the whole batch.
    """

    num_classes: int
    variant: str = "paper"
    auxiliary: bool = True
    dropout: float = 0.4
    auxiliary_dropout: float = 0.7
    bn_group_size: int | None = None
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        if self.variant not in SMALLEST:
            raise errors.unknown("variant of googlenet", self.variant, SMALLEST)
        layers.require_fractions(
            "googlenet", dropout=self.dropout, auxiliary_dropout=self.auxiliary_dropout
        )

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        self._check_size(images)
        paper = self.variant == "paper"
        conv, dense = self._layers()
        pool = functools.partial(pooling.max_pool, window=3, stride=2, padding=0, ceil=True)

        def normalize(x: Array) -> Array:
            return pooling.local_response_norm(x, 5, 1e-4, 0.75, 1.0) if paper else x

        x = conv(64, (7, 7), stride=2, padding=(3, 3), name="conv1")(images, train)
        x = normalize(pool(x))
        x = conv(64, (1, 1), name="conv2_reduce")(x, train)
        x = conv(192, (3, 3), padding=(1, 1), name="conv2")(x, train)
        x = pool(normalize(x))
        for name, filters in TABLE_1.items():
            x = Inception(filters, 5 if paper else 3, conv, name=name)(x, train)
            if name in ("inception_4a", "inception_4d"):
                self._auxiliary(x, train, conv, dense, name.removeprefix("inception_"))
            if name == "inception_3b":
                x = pool(x)
            if name == "inception_4e":
                x = pool(x, window=3 if paper else 2)
        x = layers.at_least_float32(x.mean((1, 2)))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return dense(self.num_classes, bias_init=nn.initializers.zeros, name="linear")(x)

    def _layers(self) -> tuple[functools.partial, functools.partial]:
        """The convolution unit and the linear layer of the variant."""
        if self.variant == "paper":
            norm = None
            init = {"kernel_init": layers.caffe_xavier, "bias_init": nn.initializers.constant(0.2)}
        else:
            norm = functools.partial(
                layers.BatchNorm, self.bn_group_size, epsilon=0.001, dtype=self.dtype
            )
            # torchvision truncates at +-2, which is 200 standard deviations.
            init = {"kernel_init": nn.initializers.normal(0.01)}
        conv = functools.partial(ConvUnit, norm=norm, dtype=self.dtype, **init)
        return conv, functools.partial(nn.Dense, **init)

    def _auxiliary(self, x: Array, train: bool, conv, dense, module: str) -> None:
        if not self.auxiliary or not (train or self.is_initializing()):
            return
        if not train:  # `init` creates the parameters; their shapes do not depend on the images
            x = jnp.zeros((1, 14, 14, x.shape[-1]), x.dtype)
        head = AuxiliaryClassifier(
            self.num_classes,
            self.variant,
            self.auxiliary_dropout,
            conv,
            dense,
            name=f"auxiliary_{module}",
        )
        logits = head(x, train)
        if train:
            self.sow("aux_logits", module, logits)

    def _check_size(self, images: Array) -> None:
        smallest = SMALLEST[self.variant]
        if min(images.shape[1:3]) < smallest:
            raise errors.UserError(
                f"googlenet: images of {images.shape[1]}x{images.shape[2]} are too small, "
                f"the smallest are {smallest}x{smallest}"
            )
