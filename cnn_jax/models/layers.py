"""What networks share: the one convolution, the one batch norm, linear layers, initializers."""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from cnn_jax import errors
from cnn_jax.models.cpu import xla
from cnn_jax.models.cpu.xla import by_platform, only_shapes

Array = jax.Array

# --- precision ---------------------------------------------------------------------------------


def at_least_float32(x: Array) -> Array:
    """Halves as float32; float32 and float64 as they are."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def on_each_device(function: Callable[[Array, Array], Array], x: Array, param: Array) -> Array:
    """`function(x, param)`, by every device for its own part of the batch x [B, ...].

    XLA adds up the gradient of a parameter over the devices in the type of the function's result.
    Here each device's gradient has the type of `param`, float32, before they are added up. The
    devices are those of the mesh around the tracing, see `training.compiler.with_mesh`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    automatic = all(kind == AxisType.Auto for kind in mesh.axis_types)
    if x.dtype == param.dtype or mesh.empty or mesh.size == 1 or not automatic:
        return function(x, param)
    if x.shape[0] % mesh.size:
        return function(x, param)
    batch = PartitionSpec(mesh.axis_names)
    specs = (batch, PartitionSpec())
    return jax.shard_map(function, in_specs=specs, out_specs=batch, check_vma=False)(x, param)


# --- convolution and linear layers -------------------------------------------------------------


def convolve(
    images: Array, kernel: Array, strides, padding, groups: int = 1, precision=None
) -> Array:
    """The convolution [B, H', W', O] in the type of the images, in the form that devices run fast.

    Only CPUs need another than `lax` has, see `models.cpu.xla`. Gradients are reverse-mode only.

    Args:
      images: [B, H, W, C].
      kernel: [h, w, C / groups, O].
      padding: above and below, left and right; or a word of `lax`, as "SAME".
    """
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(images.shape[1:3], kernel.shape[:2], strides, padding)
    how = (tuple(strides), tuple(map(tuple, padding)), precision)

    def own(images, kernel):
        kernel = kernel.astype(images.dtype)
        if groups > 1 or only_shapes():
            return _plain(images, kernel, *how, groups)
        return _convolve(images, kernel, *how)

    return on_each_device(own, images, kernel)


def _plain(images, kernel, strides, padding, precision, groups=1):
    return lax.conv_general_dilated(
        images,
        kernel,
        strides,
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision=precision,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(images, kernel, *how):
    return by_platform(
        images,
        kernel,
        cpu=lambda x, k: xla.convolve(x, k, *how),
        default=lambda x, k: _plain(x, k, *how),
    )


def _convolve_forward(images, kernel, *how):
    return _convolve(images, kernel, *how), (images, kernel)


def _convolve_backward(*how_residuals_dy):
    *how, residuals, dy = how_residuals_dy
    return by_platform(
        *residuals,
        dy,
        cpu=lambda x, k, dy: xla.gradients(x, k, dy, *how),
        default=lambda x, k, dy: jax.vjp(lambda x, k: _plain(x, k, *how), x, k)[1](dy),
    )


_convolve.defvjp(_convolve_forward, _convolve_backward)


class Conv(nn.Conv):
    """`nn.Conv` of images [B, H, W, C], not dilated, by `convolve`.

    Its parameters stay in float32, and so does the sum of their gradients over the devices. Raises
    `UserError` for what `nn.Conv` can and this cannot.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for option, only in (("input_dilation", 1), ("kernel_dilation", 1), ("mask", None)):
            if getattr(self, option) != only:
                raise errors.UserError(f"layers.Conv takes no {option}: take nn.Conv")
        x = x.astype(self.dtype or x.dtype)
        shape = (*_pair(self.kernel_size), x.shape[-1] // self.feature_group_count, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        padding = self.padding
        if not isinstance(padding, str):
            padding = [_pair(pads) for pads in _pair(padding)]
        groups, strides = self.feature_group_count, _pair(self.strides)
        y = convolve(x, kernel, strides, padding, groups, self.precision)
        return add_bias(self, y) if self.use_bias else y


class Dense(nn.Dense):
    """`nn.Dense` of rows [B, F], with parameters and gradients in float32 as in `Conv`."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = x.astype(self.dtype or x.dtype)
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        product = functools.partial(jnp.dot, precision=self.precision)
        y = on_each_device(lambda x, kernel: product(x, kernel.astype(x.dtype)), x, kernel)
        return add_bias(self, y) if self.use_bias else y


def _pair(value) -> tuple:
    return tuple(value) if isinstance(value, Sequence) else (value, value)


def add_bias(layer: nn.Module, y: Array) -> Array:
    """y [B, ..., features] and the layer's bias, added in float32, in the type of y."""
    bias = layer.param("bias", layer.bias_init, (layer.features,), jnp.float32)
    return (y + bias).astype(y.dtype)


# --- batch norm --------------------------------------------------------------------------------


def _sum(x: Array) -> Array:
    """Over the rows, [groups, rows, channels] -> [groups, channels]."""
    return by_platform(x, cpu=xla.sum_rows, default=lambda x: x.sum(1))


def moments(x: Array, shift: Array) -> tuple[Array, Array]:
    """Mean and variance [groups, channels] of x [groups, rows, channels], read once.

    The variance is the mean of (x - shift)^2 less the square of the mean of x - shift. That loses
    no digits where the shift [channels] is near the mean, as a running average is. Elsewhere
    the relative error of float32, some 2e-7, is (1 + (mean - shift)^2 / variance) times as large.
    """
    shifted = x - shift
    mean = shifted.mean(1)
    variance = jnp.maximum((shifted**2).mean(1) - mean**2, 0)
    return mean + shift, variance


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _normalize(x, shift, scale, bias, epsilon):
    """Ioffe & Szegedy (2015), Algorithm 1, of each group of x [groups, rows, channels]."""
    return _normalize_forward(x, shift, scale, bias, epsilon)[0]


def _normalize_forward(x, shift, scale, bias, epsilon):
    wide = at_least_float32(x)
    mean, variance = by_platform(wide, shift, cpu=lambda x, _: xla.moments(x), default=moments)
    inverse = lax.rsqrt(variance + epsilon)
    factor = inverse * scale
    y = (wide - mean[:, None]) * factor[:, None] + bias
    return (y.astype(x.dtype), mean, variance), (x, scale, mean, inverse)


def _normalize_backward(epsilon, residuals, cotangents):
    """Section 3 of the paper: the gradients of l to x, gamma (the scale) and beta (the bias)."""
    del epsilon
    x, scale, mean, inverse = residuals
    dy = at_least_float32(cotangents[0])  # mean and variance feed the running averages only
    dy = by_platform(dy, cpu=xla.barrier, default=lambda dy: dy)
    centered = at_least_float32(x) - mean[:, None]
    dbias, dscale = _sum(dy), _sum(dy * centered) * inverse
    rows = x.shape[1]
    shared = dbias[:, None] + centered * (inverse * dscale)[:, None]
    dx = (inverse * scale)[:, None] * (dy - shared / rows)
    return dx.astype(x.dtype), jnp.zeros_like(scale), dscale.sum(0), dbias.sum(0)


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
        y, means, variances = _normalize(rows, mean.value, scale, bias, self.epsilon)
        if not self.is_initializing():
            unbiased = variances * (rows.shape[1] / max(rows.shape[1] - 1, 1))
            m = self.momentum
            mean.value = m * mean.value + (1 - m) * means.mean(0)
            var.value = m * var.value + (1 - m) * unbiased.mean(0)
        return y.reshape(x.shape).astype(self.dtype)


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


# --- sizes and options --------------------------------------------------------------------------


def require_size(network: str, images: Array, smallest: int) -> None:
    """Raises `UserError` where images [B, H, W, C] are smaller than the network can take."""
    height, width = images.shape[1:3]
    if min(height, width) < smallest:
        raise errors.UserError(
            f"{network}: images of {height}x{width} are too small; the smallest are "
            f"{smallest}x{smallest}"
        )


def require_fractions(network: str, **options: float) -> None:
    """Raises `UserError` for an option that is not in [0, 1)."""
    for name, value in options.items():
        if not 0 <= value < 1:
            raise errors.UserError(f"{network}: {name} {value} is not in [0, 1)")
