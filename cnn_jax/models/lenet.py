"""The LeNets of LeCun et al. (1998), as in Caffe and in Han et al. (2015, arXiv:1506.02626).

    LeNet-300-100        LeNet-5
    ip1   300, ReLU      conv1  5x5, 20, max pooling 2x2/2
    ip2   100, ReLU      conv2  5x5, 50, max pooling 2x2/2
    ip3   classes        ip1    500, ReLU
                         ip2    classes

They have 266,610 and 431,080 parameters for gray images of 28x28 and ten classes. The LeNet-5 of
1998 has 60,000: fewer channels, sparse connections, trained pooling. This one is Caffe's `lenet`,
whose convolutions are followed by pooling only, not by an activation.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax import errors
from cnn_jax.models import layers, pooling

Array = jax.Array

VARIANTS = ("5", "300-100")


class LeNet(nn.Module):
    """LeNet-5 or LeNet-300-100: images [B, H, W, C] -> logits [B, classes].

    `variant`: "5" or "300-100". Initial weights follow Caffe's "xavier"; biases start at 0.
    """

    num_classes: int
    variant: str = "5"
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        if self.variant not in VARIANTS:
            raise errors.unknown("variant of lenet", self.variant, VARIANTS)

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        del train  # training and evaluation compute the same
        x = images
        if self.variant == "5":
            layers.require_size("lenet", images, 16)
            for name, channels in (("conv1", 20), ("conv2", 50)):
                conv = layers.Conv(
                    channels,
                    (5, 5),
                    padding=0,
                    kernel_init=layers.caffe_xavier,
                    dtype=self.dtype,
                    name=name,
                )
                x = pooling.max_pool(conv(x), window=2, stride=2, padding=0)
        x = x.reshape(x.shape[0], -1)
        hidden = (500,) if self.variant == "5" else (300, 100)
        for i, units in enumerate(hidden, 1):
            x = nn.relu(self._linear(units, f"ip{i}", self.dtype)(x))
        last = self._linear(self.num_classes, f"ip{len(hidden) + 1}", "float32")
        return last(x.astype(jnp.float32))

    def _linear(self, units: int, name: str, dtype: str) -> nn.Dense:
        return layers.Dense(units, kernel_init=layers.caffe_xavier, dtype=dtype, name=name)
