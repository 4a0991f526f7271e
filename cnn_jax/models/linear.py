"""Linear layers on flattened maps, or at every position of a larger map."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax import errors
from cnn_jax.models.layers import Dense, convolve

Array = jax.Array


class MapLinear(nn.Module):
    """`nn.Dense` on windows of a map: [B, H, W, C] -> [B, H - side + 1, W - side + 1, features].

    It has the parameters of the `nn.Dense` for one flattened map [side, side, C], and applies them
    as a convolution (Simonyan & Zisserman 2015, section 3.2). Raises `UserError` for smaller maps.
    """

    features: int
    side: int
    kernel_init: Callable
    bias_init: Callable = nn.initializers.zeros
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        height, width, channels = x.shape[1:]
        if min(height, width) < self.side:
            raise errors.UserError(
                f"fully convolutional: {self.name} needs a map of {self.side}x{self.side}, "
                f"and these images leave {height}x{width}: take larger ones"
            )
        window = (self.side, self.side, channels)
        shape = (self.side**2 * channels, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
        kernel = kernel.reshape(*window, self.features)
        y = convolve(x.astype(self.dtype), kernel, (1, 1), ((0, 0), (0, 0)))
        return (y + bias).astype(self.dtype)


def linear(fully_convolutional: bool, side: int, features: int, **options) -> nn.Module:
    """A `MapLinear` on windows of `side` x `side`, or the `nn.Dense` with the same parameters."""
    if fully_convolutional:
        return MapLinear(features, side, **options)
    return Dense(features, **options)
