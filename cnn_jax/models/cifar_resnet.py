"""He et al. (2016), arXiv:1512.03385, section 4.2: residual and plain networks for 32x32 images.

output map size |  32x32  |  16x16  |  8x8
number of layers|  1+2n   |   2n    |   2n       depth = 6n + 2
filters         |   16    |   32    |   64

With bottlenecks of 1x1, 3x3, 1x1 (arXiv:1603.05027) depth = 9n + 2, and the stages end with 64, 128
and 256 filters. The options include the ablations of that paper's Tables 1 and 2, and stochastic
depth (arXiv:1603.09382).
"""

import functools

import flax.linen as nn
import jax

from cnn_jax import errors
from cnn_jax.models import layers, residual_units
from cnn_jax.models.residual_units import Stage

Array = jax.Array

STAGES = [("conv2", 16, 1), ("conv3", 32, 2), ("conv4", 64, 2)]
# These options mean nothing in a plain network.
SHORTCUT_OPTIONS = ("order", "shortcut", "shortcut_scale", "residual_scale", "gating")
SHORTCUT_OPTIONS += ("shortcut_dropout", "death_rate")


class CifarResNet(nn.Module):
    """ResNet-20 to -1202 and their plain counterparts: images [B, H, W, C] -> logits [B, classes].

    `residual`: False removes the shortcuts.
    `block`: "basic" (depth 6n + 2), "bottleneck" (9n + 2: 164, 1001) or "single" (3n + 2), which
        has a shortcut around each convolution (arXiv:1603.05027, Table 3, one-layer skip).
    `order`: where batch norm and ReLU stand, a row of arXiv:1603.05027, Table 2: "original", "BN
        after addition", "ReLU before addition", "ReLU-only pre-activation", "full pre-activation".
    `shortcut`: where dimensions change, "A" (zeros), "B" (projection) or "average" (A with average
        pooling, arXiv:1603.09382); "C" projects everywhere, Table 1's "1x1 conv shortcut". None
        means the papers' choice: B for bottlenecks, A otherwise.
    `shortcut_scale`, `residual_scale`: Table 1's constant scaling of the shortcut and of F.
    `gating`: "exclusive" or "shortcut-only", by a 1x1 convolution with initial bias `gate_bias`.
    `shortcut_dropout`: fraction of the shortcut that is dropped, Table 1's dropout shortcut.
    `death_rate`: stochastic depth (arXiv:1603.09382: 0.5), 1 - p_L of its linear decay. A step
        leaves out unit l of L with probability death_rate * l / L, for the whole batch; the draw
        uses the "dropout" rng. The released code also has biases, which its batch norms cancel.
    `init_fan`: He's initialization by fan "in" or "out"; the paper does not say which. The released
        Torch code has "out", and leaves the last layer at Torch's default.
    `bn_group_size`: examples that share batch statistics; None means the whole batch.
    `unroll`: keeps the blocks of long stages separate; otherwise a stage is one `lax.scan`.
    `remat`: saves memory: the backward pass computes the inside of each block again.
    """

    num_classes: int
    depth: int = 20
    residual: bool = True
    block: str = "basic"
    order: str = "original"
    shortcut: str | None = None
    shortcut_scale: float = 1.0
    residual_scale: float = 1.0
    gating: str = "none"
    gate_bias: float = 0.0
    shortcut_dropout: float = 0.0
    death_rate: float = 0.0
    init_fan: str = "in"
    bn_group_size: int | None = None
    unroll: bool = False
    remat: bool = False
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        residual_units.check(
            "cifar_resnet",
            [
                ("block", self.block, residual_units.BLOCKS),
                ("order", self.order, residual_units.ORDERS),
                ("shortcut", self.shortcut or "A", residual_units.SHORTCUTS),
                ("gating", self.gating, residual_units.GATINGS),
                ("init_fan", self.init_fan, residual_units.CONV_INITS),
            ],
        )
        step = 3 * len(residual_units.BLOCKS[self.block])
        if self.depth < step + 2 or (self.depth - 2) % step:
            known = {6: "20, 32, 44, 56, 110 and 1202", 9: "164 and 1001", 3: "110"}[step]
            raise errors.UserError(
                f"cifar_resnet: depth {self.depth} is not {step}n + 2, as {self.block} blocks "
                f"need; the papers have {known}"
            )
        layers.require_fractions(
            "cifar_resnet", shortcut_dropout=self.shortcut_dropout, death_rate=self.death_rate
        )
        for name in SHORTCUT_OPTIONS:
            if not self.residual and getattr(self, name) != getattr(CifarResNet, name):
                raise errors.UserError(
                    f"cifar_resnet: a plain network (residual=False) has no {name}; leave it out"
                )

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        norm = functools.partial(layers.BatchNorm, self.bn_group_size, dtype=self.dtype)
        x = layers.Conv(
            16,
            (3, 3),
            padding=1,
            use_bias=False,
            kernel_init=residual_units.CONV_INITS[self.init_fan],
            dtype=self.dtype,
            name="conv1",
        )(images)
        # In a pre-activated network this is the first activation, before its first unit splits.
        x = nn.relu(norm(name="bn1")(x, train))
        count = (self.depth - 2) // (3 * len(residual_units.BLOCKS[self.block]))
        survival = residual_units.survival(self.death_rate, [count] * 3)
        for i, (stage, channels, stride) in enumerate(STAGES):
            unit = self._unit(channels)
            first_unit = functools.partial(unit, activated=True) if i == 0 else unit
            x = Stage(unit, count, stride, self.unroll, first_unit, self.remat, name=stage)(
                x, train, survival[i]
            )
        # In a pre-activated network the last activation follows the last addition.
        head = residual_units.ORDERS[self.order].before
        x = residual_units.activate(x, head, functools.partial(norm, name="bn"), train)
        x = layers.at_least_float32(x.mean((1, 2)))
        fc_init = residual_units.FC_INITS[self.init_fan]
        return nn.Dense(self.num_classes, kernel_init=fc_init, name="fc")(x)

    def _unit(self, channels):
        bottleneck = self.block == "bottleneck"
        return functools.partial(
            residual_units.ResidualUnit,
            kernels=residual_units.BLOCKS[self.block],
            inner=channels,
            channels=4 * channels if bottleneck else channels,
            residual=self.residual,
            order=self.order,
            shortcut=self.shortcut or ("B" if bottleneck else "A"),
            gating=self.gating,
            gate_bias=self.gate_bias,
            shortcut_scale=self.shortcut_scale,
            residual_scale=self.residual_scale,
            shortcut_dropout=self.shortcut_dropout,
            init_fan=self.init_fan,
            bn_group_size=self.bn_group_size,
            dtype=self.dtype,
        )
