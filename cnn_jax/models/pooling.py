"""Pooling and response normalization, as Caffe, Torch and TensorFlow do them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

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

    return _maxima(x, window, stride, (pads(x.shape[1]), pads(x.shape[2])))


def _plain_maxima(x, window, stride, padding):
    return nn.max_pool(x, (window, window), (stride, stride), padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _maxima(x, window, stride, padding):
    return _plain_maxima(x, window, stride, padding)


def _maxima_forward(x, *how):
    y = _maxima(x, *how)
    places = lax.platform_dependent(
        *(x, y),
        cuda=lambda x, y: places_of_maxima(x, y, *how),
        default=lambda x, y: jnp.zeros(y.shape, jnp.uint8),
    )
    return y, (x, places)


def _maxima_backward(*how_residuals_dy):
    *how, (x, places), dy = how_residuals_dy
    dx = lax.platform_dependent(
        *(x, places, dy),
        cuda=lambda x, places, dy: gathered_gradient(x.shape, places, dy, *how),
        default=lambda x, places, dy: jax.vjp(lambda x: _plain_maxima(x, *how), x)[1](dy)[0],
    )
    return (dx,)


_maxima.defvjp(_maxima_forward, _maxima_backward)


def places_of_maxima(x: Array, y: Array, window: int, stride: int, padding) -> Array:
    """Where each window has its maximum, the first row by row, as uint8 [B, H', W', C]."""
    margins = zip(padding, x.shape[1:3], y.shape[1:3], strict=True)
    ends = [(low, stride * (m - 1) + window - n - low, 0) for (low, _), n, m in margins]
    padded = lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
    places = jnp.zeros(y.shape, jnp.uint8)
    for place in reversed(range(window**2)):
        row, column = divmod(place, window)
        pixels = padded[:, row::stride, column::stride][:, : y.shape[1], : y.shape[2]]
        places = jnp.where(pixels == y, jnp.uint8(place), places)
    return places


def gathered_gradient(shape, places: Array, dy: Array, window: int, stride: int, padding) -> Array:
    """The gradient of x of this shape from `dy`, that of the maxima, and their places.

    On a GPU, XLA's own adds up by atomic operations, in no fixed order, where windows overlap. Here
    every pixel adds up what the windows around it give, in the order of its places in them.
    """
    wide = jnp.promote_types(dy.dtype, jnp.float32)
    dx = jnp.zeros(shape, wide)
    for place in range(window**2):
        given = jnp.where(places == place, dy, 0).astype(wide)
        starts = zip(padding, divmod(place, window), shape[1:3], dy.shape[1:3], strict=True)
        spread = [
            (i - low, n - (i - low) - stride * (m - 1) - 1, stride - 1)
            for (low, _), i, n, m in starts
        ]
        dx = dx + lax.pad(given, jnp.zeros((), wide), [(0, 0, 0), *spread, (0, 0, 0)])
    return dx.astype(dy.dtype)


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


@jax.named_scope("local_response_norm")  # drawings and traces show it as one
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


@jax.named_scope("adaptive_avg_pool")  # drawings and traces show it as one
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
