"""Ioffe & Szegedy (2015), arXiv:1502.03167: BN-Inception, for images of 224x224.

GoogLeNet's successor, with batch norm everywhere and two 3x3 convolutions for each 5x5. Its table
(the paper's appendix) stands below in the notation of `inception_blocks`.
"""

import functools

import flax.linen as nn
import jax

from cnn_jax import errors
from cnn_jax.models import layers
from cnn_jax.models.inception_blocks import ConvUnit, Mixed, apply_step, smallest_input

Array = jax.Array


def module(n1: int, reduce: int, n3: int, double_reduce: int, double: int, pool: str) -> tuple:
    """A row of the table: #1x1, #3x3 reduce, #3x3, double #3x3 reduce, double #3x3, pool + proj."""
    kind, projection = pool.split(" + ")
    return (
        (f"1x1 {n1}",),
        (f"1x1 {reduce}", f"3x3 {n3}"),
        (f"1x1 {double_reduce}", f"3x3 {double}", f"3x3 {double}"),
        (f"{kind} 3x3", f"1x1 {projection}"),
    )


def reduction(reduce: int, n3: int, double_reduce: int, double: int) -> tuple:
    """A row of stride 2; no projection follows its pool."""
    return (
        (f"1x1 {reduce}", f"3x3/2 {n3}"),
        (f"1x1 {double_reduce}", f"3x3 {double}", f"3x3/2 {double}"),
        ("max 3x3/2",),
    )


RELEASED = {  # output for 224x224x3
    "conv1": "7x7/2 64",  # 112x112x64
    "pool1": "max 3x3/2",  # 56x56x64
    "conv2_reduce": "1x1 64",
    "conv2": "3x3 192",  # 56x56x192
    "pool2": "max 3x3/2",  # 28x28x192
    "inception_3a": module(64, 64, 64, 64, 96, "avg + 32"),  # 28x28x256
    "inception_3b": module(64, 64, 96, 64, 96, "avg + 64"),  # 28x28x320
    "inception_3c": reduction(128, 160, 64, 96),  # 14x14x576
    "inception_4a": module(224, 64, 96, 96, 128, "avg + 128"),  # 14x14x576
    "inception_4b": module(192, 96, 128, 96, 128, "avg + 128"),  # 14x14x576
    "inception_4c": module(160, 128, 160, 128, 160, "avg + 96"),  # 14x14x576
    "inception_4d": module(96, 128, 192, 160, 192, "avg + 96"),  # 14x14x576
    "inception_4e": reduction(128, 192, 192, 256),  # 7x7x1024
    "inception_5a": module(352, 192, 320, 160, 224, "avg + 128"),  # 7x7x1024
    "inception_5b": module(352, 192, 320, 192, 224, "max + 128"),  # 7x7x1024
}
# The paper prints projections of 128 for 4c and 4d, which contradict its 576 channels. Ports that
# follow the projections have maps of 608 channels, and 1056 after 4e.
PRINTED_POOL = ("avg 3x3", "1x1 128")
PRINTED = RELEASED | {
    "inception_4c": (*RELEASED["inception_4c"][:3], PRINTED_POOL),
    "inception_4d": (*RELEASED["inception_4d"][:3], PRINTED_POOL),
}
LAYOUTS = {"released": RELEASED, "printed": PRINTED}


class BNInception(nn.Module):
    """BN-Inception: images [B, H, W, C] -> logits [B, classes].

    `layout`: "released" has the channels of tf-slim's inception_v2, "printed" the pool projections
    that the paper prints.
    `separable_stem`: the first layer is a 7x7 convolution of each color to 8 channels and a 1x1 of
    these to 64, as the paper says; ports have a plain 7x7.
    `dropout`: fraction of the pooled features that is dropped; section 4.2.1 removes it.
    `bn_epsilon`, `bn_momentum`: constants of the batch norms, from tf-slim; the paper has none.
    `bn_group_size`: examples that share batch statistics; None means the whole batch.
    """

    num_classes: int
    layout: str = "released"
    separable_stem: bool = True
    dropout: float = 0.0
    bn_epsilon: float = 0.001
    bn_momentum: float = 0.9997
    bn_group_size: int | None = None
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        if self.layout not in LAYOUTS:
            raise errors.unknown("layout of bn_inception", self.layout, LAYOUTS)
        layers.require_fractions("bn_inception", dropout=self.dropout, bn_momentum=self.bn_momentum)

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        table = LAYOUTS[self.layout]
        layers.require_size("bn_inception", images, smallest_input(table))
        norm = functools.partial(
            layers.BatchNorm, self.bn_group_size, self.bn_momentum, self.bn_epsilon
        )
        conv = functools.partial(
            ConvUnit, norm=functools.partial(norm, dtype=self.dtype), dtype=self.dtype
        )
        x = images
        if self.separable_stem:
            x = self._depthwise(x)
            table = table | {"conv1": "1x1 64"}
        for name, content in table.items():
            if isinstance(content, str):
                x = apply_step(content, x, train, conv, True, name)
            else:
                x = Mixed(content, conv, True, name=name)(x, train)
        x = layers.at_least_float32(x.mean((1, 2)))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(0.01), name="fc")(x)

    def _depthwise(self, images: Array) -> Array:
        colors = images.shape[-1]
        return layers.Conv(
            8 * colors,
            (7, 7),
            strides=2,
            padding=3,
            feature_group_count=colors,
            use_bias=False,
            kernel_init=layers.he_fan_in,
            dtype=self.dtype,
            name="conv1_depthwise",
        )(images)
