"""Pooling and response normalization, as Caffe, Torch and TensorFlow do them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def max_pool(x: Array, window: int, stride: int, padding: int, ceil: bool = False) -> Array:
    """The maximum of each square window: [B, H, W, C] -> [B, H', W', C]; padding is -infinity.

    `ceil` is Caffe's rule: H' = ceil((H + 2 padding - window) / stride) + 1. The last window may
    extend over the border, and is dropped where it would start in the padding. Without `ceil` H' is
    rounded down.
    """

    def pads(size: int) -> tuple[int, int]:
        if not ceil:
            return padding, padding
        last = -((size + 2 * padding - window) // -stride) * stride - padding  # where it starts
        if last >= size:
            last -= stride
        return padding, max(padding, last + window - size)

    return nn.max_pool(
        x,
        window_shape=(window, window),
        strides=(stride, stride),
        padding=(pads(x.shape[1]), pads(x.shape[2])),
    )


def avg_pool(x: Array, window: int, stride: int, padding: int, count_include_pad: bool) -> Array:
    """The mean of each square window: [B, H, W, C] -> [B, H', W', C]; H' is rounded down.

    With `count_include_pad` a window at the border is divided by its full area (torchvision),
    without it by the number of its pixels inside the image (TensorFlow).
    """
    return nn.avg_pool(
        x,
        window_shape=(window, window),
        strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        count_include_pad=count_include_pad,
    )


def local_response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """x / (k + alpha / size * sum x^2)^beta, where the sum is over the `size` nearest channels.

    Caffe and Torch have this form. Krizhevsky et al. (2012), section 3.3, do not divide by `size`:
    their alpha of 1e-4 is 5e-4 here. Computed in float32.
    """
    channels = x.shape[-1]
    x32 = x.astype(jnp.float32)
    squares = jnp.pad(x32**2, ((0, 0),) * (x.ndim - 1) + ((size // 2, (size - 1) // 2),))
    # XLA fuses shifted slices into one loop; it does not fuse a window over the innermost axis.
    total = sum(squares[..., i : i + channels] for i in range(size))
    return (x32 * (k + alpha / size * total) ** -beta).astype(x.dtype)


def adaptive_avg_pool(x: Array, side: int) -> Array:
    """The mean of each cell of a grid on the map: [B, H, W, C] -> [B, side, side, C].

    As in torchvision, cell i begins at floor(i H / side) and ends before ceil((i + 1) H / side):
    cells overlap where H is no multiple of `side`, and repeat pixels where H is smaller.
    """
    if x.shape[1:3] == (side, side):
        return x

    def weights(size: int) -> np.ndarray:
        cell, pixel = np.arange(side)[:, None], np.arange(size)
        inside = (pixel >= cell * size // side) & (pixel < -((cell + 1) * size // -side))
        return inside / inside.sum(1, keepdims=True)

    rows, columns = (jnp.asarray(weights(size), x.dtype) for size in x.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns, precision="highest")
