"""He et al. (2016), arXiv:1512.03385, Table 1: residual and plain networks for ImageNet.

layer name | output  | content; the first units of conv3_x, conv4_x and conv5_x have stride 2
conv1      | 112x112 | 7x7, 64, stride 2
conv2_x    |  56x56  | 3x3 max pool, stride 2; units of 64 filters
conv3_x    |  28x28  | units of 128 filters
conv4_x    |  14x14  | units of 256 filters
conv5_x    |   7x7   | units of 512 filters
           |   1x1   | average pool, fc

A basic unit is 3x3, 3x3; a bottleneck is 1x1, 3x3, and 1x1 with four times the filters. `UNITS` has
the rest of the table. Depth 200 and other orders in a unit come from arXiv:1603.05027, widths from
arXiv:1605.07146, groups from arXiv:1611.05431, stochastic depth from arXiv:1603.09382.
"""

import functools

import flax.linen as nn
import jax

from cnn_jax import errors
from cnn_jax.models import layers, pooling, residual_units
from cnn_jax.models.residual_units import Stage

Array = jax.Array

# By depth: the block, and the number of units in conv2_x, conv3_x, conv4_x and conv5_x.
UNITS = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
    200: ("bottleneck", (3, 24, 36, 3)),
}
STAGES = [("conv2", 64, 1), ("conv3", 128, 2), ("conv4", 256, 2), ("conv5", 512, 2)]
# Index of the convolution of a bottleneck that has the stride.
STRIDED = {"1x1": 0, "3x3": 1}
PREACTIVATION = "full pre-activation"


class ResNet(nn.Module):
    """ResNet-18 to -200: images [B, H, W, C] -> logits [B, classes], for images of any size.

    `residual`: False removes the shortcuts, for the paper's plain networks of 18 and 34 layers.
    `order`: where batch norm and ReLU stand in a unit, a row of arXiv:1603.05027, Table 2, as in
        `cifar_resnet`. fb.resnet.torch's published ResNet-50 has "BN after addition".
    `preactivation`: short for the order "full pre-activation". As in that paper and its code a
        projection sees the activated input; fb.resnet.torch projects the raw input.
    `shortcut`: "A" pads with zeros where dimensions change, "B" projects there, "C" everywhere. The
        paper has B at 50 layers and more, and all three at 34 (Table 3; A in Table 2).
    `shortcut_bn`: False leaves out the batch norms of the projections, which fb.resnet.torch's
        published ResNet-18 and -34 lack. Orders without one before the addition never have any.
    `death_rate`: stochastic depth (arXiv:1603.09382: 0.5), see `cifar_resnet`.
    `stride_in`: the convolution of a bottleneck that has the stride, "1x1" (the paper, and its
        published FLOPs) or "3x3" (fb.resnet.torch, torchvision).
    `width`: multiplies the filters of all units: WRN-18-k, WRN-34-k (arXiv:1605.07146, Table 7).
    `inner_width`: multiplies only those inside of bottlenecks: WRN-50-2, WRN-101-2 (Table 8).
    `groups`: groups of the 3x3 convolution of bottlenecks (arXiv:1611.05431): ResNeXt-50 (32x4d)
        has 32 and inner_width 2, ResNeXt-101 (32x8d) 32 and 4.
    `zero_init_gamma`: the last batch norm of each unit starts at zero (not in the papers).
    `ceil_pool`: max pool as in the paper's Caffe models, without padding and with the last, partial
        window; otherwise with padding 1, as in Torch. The sizes are the same, the values differ.
    `conv1_bias`: conv1 has a bias, as in the released Caffe model of ResNet-50.
    `small_input`: conv1 is 3x3 with stride 1 and padding 1, and no pool follows, for images such as
        CIFAR's (kuangliu/pytorch-cifar, not the paper).
    `same_padding`: strided 3x3 convolutions are padded as by TensorFlow's SAME, where the map is
        even at its end alone (Flax's example); together with `ceil_pool`.
    `init_fan`: He's initialization by fan "in" or "out"; the paper does not say which. Torch's
        networks (fb.resnet.torch, torchvision) have "out", and leave fc at Torch's default.
    `bn_group_size`: examples that share batch statistics; None means the whole batch.
    `unroll`: keeps the blocks of long stages separate; otherwise a stage is one `lax.scan`.
    `remat`: saves memory: the backward pass computes the inside of each block again.
    """

    num_classes: int
    depth: int = 50
    residual: bool = True
    preactivation: bool = False
    order: str = "original"
    shortcut: str = "B"
    shortcut_bn: bool = True
    death_rate: float = 0.0
    stride_in: str = "1x1"
    width: float = 1.0
    inner_width: float = 1.0
    groups: int = 1
    zero_init_gamma: bool = False
    ceil_pool: bool = False
    conv1_bias: bool = False
    small_input: bool = False
    same_padding: bool = False
    init_fan: str = "in"
    bn_group_size: int | None = None
    unroll: bool = False
    remat: bool = False
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        residual_units.check(
            "resnet",
            [
                ("depth", self.depth, UNITS),
                ("order", self.order, residual_units.ORDERS),
                ("shortcut", self.shortcut, ("A", "B", "C")),
                ("stride_in", self.stride_in, STRIDED),
                ("init_fan", self.init_fan, residual_units.CONV_INITS),
            ],
        )
        basic = UNITS[self.depth][0] == "basic"
        self._check_widths(basic)
        if self.preactivation and self.order not in ("original", PREACTIVATION):
            raise errors.UserError(
                f"resnet: preactivation is the order {PREACTIVATION!r}; leave out {self.order!r}"
            )
        layers.require_fractions("resnet", death_rate=self.death_rate)
        plain = basic and self._order == "original" and not self.death_rate
        if not self.residual and not plain:
            raise errors.UserError(
                "resnet: a plain network (residual=False) has depth 18 or 34, no preactivation, no "
                "other order and no death_rate"
            )
        ends_with_bn = "bn" in residual_units.ORDERS[self._order].last
        if self.zero_init_gamma and not (ends_with_bn and self.residual):
            raise errors.UserError(
                "resnet: zero_init_gamma is for units that end with a batch norm and have a "
                "shortcut; set preactivation=False, order='original' and residual=True"
            )

    def _check_widths(self, basic):
        if min(self.width, self.inner_width) < 1 / 64:
            raise errors.UserError("resnet: width and inner_width are at least 1/64")
        if basic and self.inner_width != 1:
            raise errors.UserError(
                "resnet: inner_width is for bottlenecks, depth 50 and more; use width"
            )
        if self.groups < 1 or (basic and self.groups != 1):
            raise errors.UserError(
                f"resnet: groups {self.groups}; it is at least 1, and for bottlenecks, depth 50 "
                "and more"
            )
        inner = [round(channels * self.width * self.inner_width) for _, channels, _ in STAGES]
        if any(channels % self.groups for channels in inner):
            raise errors.UserError(
                f"resnet: the filters inside the units, {', '.join(map(str, inner))}, do not "
                f"divide into {self.groups} groups; change width, inner_width or groups"
            )
        if self.residual and self.shortcut == "A" and self.width * (1 if basic else 4) < 1:
            raise errors.UserError(
                f"resnet: shortcut A adds channels to the 64 of conv1, width {self.width} has fewer"
            )

    @property
    def _order(self):
        return PREACTIVATION if self.preactivation else self.order

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        norm = functools.partial(layers.BatchNorm, self.bn_group_size, dtype=self.dtype)
        kernel, stride, padding = (3, 1, 1) if self.small_input else (7, 2, 3)
        x = layers.Conv(
            64,
            (kernel, kernel),
            strides=stride,
            padding=padding,
            use_bias=self.conv1_bias,
            kernel_init=residual_units.CONV_INITS[self.init_fan],
            dtype=self.dtype,
            name="conv1",
        )(images)
        # In a pre-activated network this is the first activation, before its first unit splits.
        x = nn.relu(norm(name="bn1")(x, train))
        if self.ceil_pool:
            layers.require_size("resnet with ceil_pool", images, 3)
        if not self.small_input:
            x = pooling.max_pool(x, 3, 2, padding=0 if self.ceil_pool else 1, ceil=self.ceil_pool)
        survival = residual_units.survival(self.death_rate, UNITS[self.depth][1])
        for i, (stage, channels, stride) in enumerate(STAGES):
            unit, count = self._unit(channels), UNITS[self.depth][1][i]
            first_unit = functools.partial(unit, activated=True) if i == 0 else unit
            x = Stage(unit, count, stride, self.unroll, first_unit, self.remat, name=stage)(
                x, train, survival[i]
            )
        # In a pre-activated network the last activation follows the last addition.
        head = residual_units.ORDERS[self._order].before
        x = residual_units.activate(x, head, functools.partial(norm, name="bn"), train)
        x = layers.at_least_float32(x.mean((1, 2)))
        fc_init = residual_units.FC_INITS[self.init_fan]
        return nn.Dense(self.num_classes, kernel_init=fc_init, name="fc")(x)

    def _unit(self, channels):
        block = UNITS[self.depth][0]
        bottleneck = block == "bottleneck"
        return functools.partial(
            residual_units.ResidualUnit,
            kernels=residual_units.BLOCKS[block],
            inner=round(channels * self.width * self.inner_width),
            groups=self.groups,
            channels=round(channels * self.width) * (4 if bottleneck else 1),
            strided=STRIDED[self.stride_in] if bottleneck else 0,
            residual=self.residual,
            order=self._order,
            shortcut=self.shortcut,
            shortcut_bn=self.shortcut_bn,
            zero_init_gamma=self.zero_init_gamma,
            same_padding=self.same_padding,
            init_fan=self.init_fan,
            bn_group_size=self.bn_group_size,
            dtype=self.dtype,
        )
