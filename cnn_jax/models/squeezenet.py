"""Iandola et al. (2016), arXiv:1602.07360: SqueezeNet, fire modules instead of large convolutions.

Table 1, version 1.0 (s1x1: squeeze, e1x1 and e3x3: expand), and version 1.1 of the released code:

    layer      1.0                 1.1              s1x1  e1x1  e3x3   output of 1.0 at 227x227
    conv1      7x7/2, 96           3x3/2, 64                           111x111x96
    maxpool    after conv1, fire4, after conv1,                        55x55, 27x27, 13x13
    3x3/2      fire8               fire3, fire5
    fire2                                             16    64    64   55x55x128
    fire3                                             16    64    64   55x55x128
    fire4                                             32   128   128   55x55x256
    fire5                                             32   128   128   27x27x256
    fire6                                             48   192   192   27x27x384
    fire7                                             48   192   192   27x27x384
    fire8                                             64   256   256   27x27x512
    fire9                                             64   256   256   13x13x512
    conv10     1x1, classes                                            13x13x1000
    avgpool10  global                                                  1x1x1000
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax import errors
from cnn_jax.models import layers, pooling

Array = jax.Array


class Version(NamedTuple):
    conv1_channels: int
    conv1_kernel: int
    pool_after: tuple[str, ...]
    smallest: int  # side of the smallest image for which no map becomes empty


VERSIONS = {
    "1.0": Version(96, 7, ("conv1", "fire4", "fire8"), 21),
    "1.1": Version(64, 3, ("conv1", "fire3", "fire5"), 17),
}
BYPASSES = ("none", "simple", "complex")

# torchvision has U(+-sqrt(6 / fan_in)).
WEIGHT_INITS = {
    "caffe": layers.caffe_xavier,
    "torchvision": nn.initializers.variance_scaling(2.0, "fan_in", "uniform"),
}


class FireSizes(NamedTuple):
    squeeze1x1: int
    expand1x1: int
    expand3x3: int


def fire_sizes(
    base_e: int, incr_e: int, freq: int, pct_3x3: float, squeeze_ratio: float
) -> dict[str, FireSizes]:
    """Channels of fire2 to fire9 from the metaparameters of section 5.1."""
    sizes = {}
    for i in range(8):
        expand = base_e + incr_e * (i // freq)
        expand3x3 = round(expand * pct_3x3)
        squeeze = round(expand * squeeze_ratio)
        sizes[f"fire{i + 2}"] = FireSizes(squeeze, expand - expand3x3, expand3x3)
    return sizes


class Fire(nn.Module):
    """Squeeze 1x1, then expand 1x1 beside 3x3 (Figure 1), with one of the bypasses of Figure 2.

    Both bypasses add the input to an output with as many channels; where they differ, the complex
    bypass adds a 1x1 convolution of the input. No ReLU follows the sum (the authors' files).
    """

    sizes: FireSizes
    bypass: str
    bypass_relu: bool
    weight_init: str
    dtype: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv = functools.partial(
            layers.Conv, kernel_init=WEIGHT_INITS[self.weight_init], dtype=self.dtype
        )
        s1x1, e1x1, e3x3 = self.sizes
        squeezed = nn.relu(conv(s1x1, (1, 1), padding=0, name="squeeze1x1")(x))
        left = nn.relu(conv(e1x1, (1, 1), padding=0, name="expand1x1")(squeezed))
        right = nn.relu(conv(e3x3, (3, 3), padding=1, name="expand3x3")(squeezed))
        y = jnp.concatenate([left, right], axis=-1)
        if self.bypass != "none" and x.shape[-1] == y.shape[-1]:
            y = y + x
        elif self.bypass == "complex":
            x = conv(y.shape[-1], (1, 1), padding=0, name="bypass")(x)
            y = y + (nn.relu(x) if self.bypass_relu else x)
        return y


class SqueezeNet(nn.Module):
    """SqueezeNet and its design space: images [B, H, W, C] -> logits [B, classes], not negative.

    A ReLU precedes the global average, as in the authors' files. Images have at least 21x21 pixels
    (version 1.1: 17x17, `small_input`: 8x8); the authors train and test at 227x227.

    `version`: "1.0" (the paper) or "1.1" (the released code: equally accurate, 2.4 times cheaper).
    `bypass`: "none", "simple" or "complex" (section 6, Figure 2).
    `bypass_relu`: a ReLU follows the 1x1 convolutions of the complex bypass, as in
    songhan/SqueezeNet-Generator.
    `base_e`, `incr_e`, `freq`, `pct_3x3`, `squeeze_ratio` (SR): the design space of section 5.
    `conv10_padding`: 1 in the authors' file for version 1.0, so that the average includes a border
    of ReLU(bias); 0 in version 1.1 and in torchvision.
    `dropout`: fraction of the activations that is dropped after fire9.
    `weight_init`: "caffe", as the authors, or "torchvision"; conv10 has N(0, 0.01) in both.
    `small_input`: conv1 is 3x3 with stride 1 and padding 1, for images such as CIFAR's.
    `logits_relu`: False removes the ReLU after conv10, which may silence a class. These two options
    are ours, not the paper's.
    """

    num_classes: int
    version: str = "1.0"
    bypass: str = "none"
    bypass_relu: bool = False
    base_e: int = 128
    incr_e: int = 128
    freq: int = 2
    pct_3x3: float = 0.5
    squeeze_ratio: float = 0.125
    conv10_padding: int = 0
    dropout: float = 0.5
    weight_init: str = "caffe"
    small_input: bool = False
    logits_relu: bool = True
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        if self.version not in VERSIONS:
            raise errors.unknown("version of squeezenet", self.version, VERSIONS)
        if self.bypass not in BYPASSES:
            raise errors.unknown("bypass of squeezenet", self.bypass, BYPASSES)
        if self.weight_init not in WEIGHT_INITS:
            raise errors.unknown("weight_init of squeezenet", self.weight_init, WEIGHT_INITS)
        layers.require_fractions("squeezenet", dropout=self.dropout)
        if self.conv10_padding < 0:
            raise errors.UserError(f"squeezenet: conv10_padding {self.conv10_padding} is negative")
        if self.bypass_relu and self.bypass != "complex":
            raise errors.UserError(
                "squeezenet: bypass_relu goes with bypass='complex', which has the convolutions"
            )
        if self.freq < 1:
            raise errors.UserError(f"squeezenet: freq {self.freq} is less than 1")
        for name, sizes in self.fires().items():
            if min(sizes) < 1:
                raise errors.UserError(
                    f"squeezenet: base_e, incr_e, pct_3x3 and squeeze_ratio leave {name} with "
                    f"{sizes}; each must be at least 1"
                )

    def fires(self) -> dict[str, FireSizes]:
        """The channels of each fire module, by its name."""
        return fire_sizes(self.base_e, self.incr_e, self.freq, self.pct_3x3, self.squeeze_ratio)

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        version = VERSIONS[self.version]
        layers.require_size("squeezenet", images, 8 if self.small_input else version.smallest)
        pool = functools.partial(pooling.max_pool, window=3, stride=2, padding=0, ceil=True)
        kernel, stride, padding = (3, 1, 1) if self.small_input else (version.conv1_kernel, 2, 0)
        conv1 = layers.Conv(
            version.conv1_channels,
            (kernel, kernel),
            strides=stride,
            padding=padding,
            kernel_init=WEIGHT_INITS[self.weight_init],
            dtype=self.dtype,
            name="conv1",
        )
        x = pool(nn.relu(conv1(images)))
        for name, sizes in self.fires().items():
            x = Fire(sizes, self.bypass, self.bypass_relu, self.weight_init, self.dtype, name=name)(
                x
            )
            if name in version.pool_after:
                x = pool(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        conv10 = layers.Conv(
            self.num_classes,
            (1, 1),
            padding=self.conv10_padding,
            kernel_init=nn.initializers.normal(0.01),
            dtype=self.dtype,
            name="conv10",
        )
        x = conv10(x)
        x = nn.relu(x) if self.logits_relu else x
        return layers.at_least_float32(x).mean((1, 2))
