"""What networks share: the one convolution, the one batch norm, repeated blocks, initializers."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cnn_jax import errors
from cnn_jax.models.cpu import xla

Array = jax.Array

# --- convolution -------------------------------------------------------------------------------


def conv_general_dilated(
    images: Array,
    kernel: Array,
    window_strides,
    padding,
    lhs_dilation=None,
    rhs_dilation=None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    precision=None,
) -> Array:
    """`lax.conv_general_dilated`, in the form that the devices run fast.

    Only CPUs need another than `lax` has, see `models.cpu.xla`; they, too, run grouped and
    dilated convolutions as `lax` has them. Gradients are reverse-mode only (`jax.custom_vjp`).
    """
    dilated = any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
    if feature_group_count != 1 or dilated or kernel.ndim != 4:
        return lax.conv_general_dilated(
            images,
            kernel,
            window_strides,
            padding,
            lhs_dilation=lhs_dilation,
            rhs_dilation=rhs_dilation,
            dimension_numbers=dimension_numbers,
            feature_group_count=feature_group_count,
            precision=precision,
        )
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(images.shape[1:3], kernel.shape[:2], window_strides, padding)
    padding = tuple(tuple(pair) for pair in padding)
    return _convolve(images, kernel, tuple(window_strides), padding, precision)


def _plain(images, kernel, strides, padding, precision):
    return lax.conv_general_dilated(
        images,
        kernel,
        strides,
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(images, kernel, *how):
    return lax.platform_dependent(
        images,
        kernel,
        cpu=lambda x, k: xla.convolve(x, k, *how),
        default=lambda x, k: _plain(x, k, *how),
    )


def _convolve_forward(images, kernel, *how):
    return _convolve(images, kernel, *how), (images, kernel)


def _convolve_backward(*how_residuals_dy):
    *how, residuals, dy = how_residuals_dy
    return lax.platform_dependent(
        *residuals,
        dy,
        cpu=lambda x, k, dy: xla.gradients(x, k, dy, *how),
        default=lambda x, k, dy: jax.vjp(lambda x, k: _plain(x, k, *how), x, k)[1](dy),
    )


_convolve.defvjp(_convolve_forward, _convolve_backward)

Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)

# --- precision ---------------------------------------------------------------------------------


def at_least_float32(x: Array) -> Array:
    """Halves as float32; float32 and float64 as they are."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


# --- batch norm --------------------------------------------------------------------------------


def _sum(x: Array) -> Array:
    """Over the rows, [groups, rows, channels] -> [groups, channels]."""
    return lax.platform_dependent(x, cpu=xla.sum_rows, default=lambda x: x.sum(1))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalize(x, scale, bias, epsilon):
    """Ioffe & Szegedy (2015), Algorithm 1, of each group of x [groups, rows, channels]."""
    return _normalize_forward(x, scale, bias, epsilon)[0]


def _normalize_forward(x, scale, bias, epsilon):
    wide = at_least_float32(x)
    mean = _sum(wide) / x.shape[1]
    # In two passes: the mean of squares less the squared mean is ten times further from float64.
    variance = _sum((wide - mean[:, None]) ** 2) / x.shape[1]
    inverse = lax.rsqrt(variance + epsilon)
    factor = inverse * scale
    y = (wide - mean[:, None]) * factor[:, None] + bias
    return (y.astype(x.dtype), mean, variance), (x, scale, mean, inverse)


def _normalize_backward(epsilon, residuals, cotangents):
    """Section 3 of the paper: the gradients of l to x, gamma (the scale) and beta (the bias)."""
    del epsilon
    x, scale, mean, inverse = residuals
    dy = at_least_float32(cotangents[0])  # mean and variance feed the running averages only
    dy = lax.platform_dependent(dy, cpu=xla.barrier, default=lambda dy: dy)
    centered = at_least_float32(x) - mean[:, None]
    dbias, dscale = _sum(dy), _sum(dy * centered) * inverse
    rows = x.shape[1]
    shared = dbias[:, None] + centered * (inverse * dscale)[:, None]
    dx = (inverse * scale)[:, None] * (dy - shared / rows)
    return dx.astype(x.dtype), dscale.sum(0), dbias.sum(0)


_normalize.defvjp(_normalize_forward, _normalize_backward)


class BatchNorm(nn.Module):
    """Batch normalization of images [B, H, W, C] (Ioffe & Szegedy 2015).

    Statistics are in float32, of float64 images in float64.

    `group_size` examples share their statistics, `None` is the whole batch; the running averages
    are over the groups. As in Torch and Caffe, `momentum` is the fraction of the old average that
    stays (PyTorch writes 1 - momentum), and the running variance is the unbiased one.
    `use_scale=False` leaves out gamma.
    """

    group_size: int | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    scale_init: Callable = nn.initializers.ones
    use_scale: bool = True
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        channels = x.shape[-1]
        scale = jnp.ones((channels,), jnp.float32)
        if self.use_scale:
            scale = self.param("scale", self.scale_init, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        if not train:
            factor = lax.rsqrt(var.value + self.epsilon) * scale
            return (x * factor + (bias - mean.value * factor)).astype(self.dtype)

        group_size = x.shape[0] if self.group_size is None else self.group_size
        if group_size < 1:
            raise errors.UserError(f"batch-norm groups of {group_size}: they have at least 1 image")
        if x.shape[0] % group_size:
            raise errors.UserError(
                f"a batch of {x.shape[0]} does not divide into batch-norm groups of {group_size}: "
                f"choose a batch size that is a multiple of {group_size}"
            )
        rows = x.reshape(x.shape[0] // group_size, -1, channels)
        y, means, variances = _normalize(rows, scale, bias, self.epsilon)
        if not self.is_initializing():
            unbiased = variances * (rows.shape[1] / max(rows.shape[1] - 1, 1))
            m = self.momentum
            mean.value = m * mean.value + (1 - m) * means.mean(0)
            var.value = m * var.value + (1 - m) * unbiased.mean(0)
        return y.reshape(x.shape).astype(self.dtype)


# --- repeated blocks ---------------------------------------------------------------------------


class Stage(nn.Module):
    """`count` blocks one after the other; `block(stride=..., name=...)` makes one.

    The first has the stride, the others are equal to each other. In a stage of nine or more the
    others become one `lax.scan`, so that a stage of 200 compiles like a stage of one: variables are
    in `block1` and, stacked along a leading axis, in `blocks`. Fewer, or with `unroll`, stand in
    `block1`, `block2`, ... `first_block` makes the first one where it differs by more than its
    stride. Each block gets its own entry of `per_block` [count, ...], as a third argument. `remat`
    keeps the inputs of the blocks only, and computes the rest again for the gradient: less memory,
    a third more work.
    """

    block: Callable[..., nn.Module]
    count: int
    stride: int
    unroll: bool
    first_block: Callable[..., nn.Module] | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, train: bool, per_block: Array | None = None) -> Array:
        entries = () if per_block is None else (per_block,)

        def apply(block, x, own):
            return block(x, train, *own)

        if self.remat:
            apply = nn.remat(apply)
        first_block = self.first_block or self.block
        first = first_block(stride=self.stride, name="block1")
        x = apply(first, x, tuple(entry[0] for entry in entries))
        if self.unroll or self.count < 9:
            for i in range(2, self.count + 1):
                block = self.block(stride=1, name=f"block{i}")
                x = apply(block, x, tuple(entry[i - 1] for entry in entries))
            return x
        scan = nn.scan(
            lambda block, carry, own: (apply(block, carry, own), None),
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "dropout": True},
            length=self.count - 1,
        )
        blocks = self.block(stride=1, name="blocks")
        return scan(blocks, x, tuple(entry[1:] for entry in entries))[0]


# --- initializers ------------------------------------------------------------------------------

# He et al. (2015), arXiv:1502.01852: a normal distribution of variance 2 / fan.
he_fan_in = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


# Caffe's "xavier": U(-sqrt(3 / fan_in), sqrt(3 / fan_in)).
caffe_xavier = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")


def torch_linear(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Torch's default for a linear layer, U(-1/sqrt(fan_in), 1/sqrt(fan_in)); shape [in, out]."""
    bound = shape[0] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def unit_uniform(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """U(0, 1): Torch7's default for the scale of a batch norm."""
    return jax.random.uniform(key, shape, dtype)


# --- sizes ------------------------------------------------------------------------------------


def require_size(network: str, images: Array, smallest: int) -> None:
    """Raises `UserError` where images [B, H, W, C] are smaller than the network can take."""
    height, width = images.shape[1:3]
    if min(height, width) < smallest:
        raise errors.UserError(
            f"{network}: images of {height}x{width} are too small; the smallest are "
            f"{smallest}x{smallest}"
        )
