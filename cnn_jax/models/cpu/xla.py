"""Convolutions, sums and barriers in the form that XLA:CPU runs fast, and exactly enough.

In a loop body (`lax.scan`) XLA:CPU runs a convolution by a naive kernel unless it is in canonical
layout, and JAX's own gradients are not: jax-ml/jax#12868. Here the gradients are written out.
`by_platform` takes this form for CPUs, and `eval_shape` never: it asks for shapes only.
"""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array

_CANONICAL = ("NHWC", "HWIO", "NHWC")
_ONLY_SHAPES = contextvars.ContextVar("only_shapes", default=False)


def convolve(x: Array, kernel: Array, strides, padding, precision) -> Array:
    """[B, H, W, C] and [h, w, C, O] -> [B, H', W', O]; `padding` is a pair for each axis."""
    if strides == (1, 1):
        return _conv_of_few(x, kernel, padding, precision)
    return _conv(x, kernel, strides, padding, precision)


def gradients(
    x: Array, kernel: Array, dy: Array, strides, padding, precision
) -> tuple[Array, Array]:
    """The gradients of `x` and of `kernel`, from that of the result."""
    # XLA:CPU would otherwise fuse the whole chain of residual additions into the transposes of `x`,
    # once for each block of a stage. The barriers count where `training.compiler` keeps them alive.
    x, dy = lax.optimization_barrier((x, dy))
    # Kernel gradient: x as [C, H, W, N] with dy as the kernel [H, W, N, O], dilated by the stride.
    sizes = zip(x.shape[1:3], kernel.shape[:2], padding, strides, dy.shape[1:3], strict=True)
    dkernel = _conv(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        (1, 1),
        [(low, k + s * (m - 1) - n - low) for n, k, (low, _), s, m in sizes],
        precision,
        rhs_dilation=strides,
    ).transpose(1, 2, 0, 3)
    return _input_gradient(dy, kernel, x.shape, strides, padding, precision), dkernel


def _conv(x, kernel, strides, padding, precision, **dilation):
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=_CANONICAL, precision=precision, **dilation
    )


def _conv_of_few(x, kernel, padding, precision):
    """A convolution of stride 1; with 16 channels or fewer, two columns of its output at once.

    Eigen copies its input k * k times over, and to fill one vector register with each number read
    is a waste of that. Two columns side by side are one convolution of stride 2 with twice the
    channels: a (k + 1) / k of the multiplications in 0.8 of the time.
    """
    width = x.shape[2] + sum(padding[1]) - kernel.shape[1] + 1
    if kernel.shape[3] > 16 or kernel.shape[1] < 3 or width % 2:
        return _conv(x, kernel, (1, 1), padding, precision)
    first, second = (jnp.pad(kernel, ((0, 0), (i, 1 - i), (0, 0), (0, 0))) for i in (0, 1))
    y = _conv(x, jnp.concatenate([first, second], -1), (1, 2), padding, precision)
    return y.reshape(*y.shape[:2], width, kernel.shape[3])


def _input_gradient(dy, kernel, shape, strides, padding, precision):
    """Gradient of x of `shape` [B, H, W, C]: dy with the kernel turned round, in and out swapped.

    With a stride, every stride-th row and column of x meets the same part of the kernel: one
    convolution for each part, and their results interleaved, instead of one of dy between zeros.
    """
    kernel = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)

    def meet(axis, phase):
        """The rows of the kernel that `phase` meets, and the padding of dy."""
        stride, taps = strides[axis], kernel.shape[axis]
        before = taps - 1 - padding[axis][0]  # the zeros before dy, were there zeros between, too
        first = (before - phase) % stride
        count = len(range(first, taps, stride))
        start = (phase + first - before) // stride
        end = -(-shape[axis + 1] // stride) - 1 + start + count
        return slice(first, None, stride), (-start, end - dy.shape[axis + 1])

    def part(phases):
        (rows, pad_rows), (columns, pad_columns) = map(meet, (0, 1), phases)
        # A kernel smaller than its stride does not meet every row: their gradient is zero.
        met = kernel[rows, columns]
        return _conv_of_few(dy, met, (pad_rows, pad_columns), precision) if met.size else 0.0

    parts = [part(phases) for phases in np.ndindex(strides)]
    if len(parts) == 1:
        return parts[0]
    dx = jnp.stack(jnp.broadcast_arrays(*parts), 3)
    b, h, w, _, c = dx.shape
    dx = dx.reshape(b, h, w, *strides, c).transpose(0, 1, 3, 2, 4, 5)
    return dx.reshape(b, h * strides[0], w * strides[1], c)[:, : shape[1], : shape[2]]


def sum_rows(x: Array) -> Array:
    """[groups, rows, channels] -> [groups, channels]."""
    # A product with ones is faster than XLA:CPU's reduction; in two stages it loses fewer digits.
    groups, rows, channels = x.shape
    stages = next(n for n in range(math.isqrt(rows), 0, -1) if rows % n == 0)
    x = x.reshape(groups * stages, rows // stages, channels)
    x = jnp.ones((groups * stages, 1, rows // stages), x.dtype) @ x
    x = x.reshape(groups, stages, channels)
    return (jnp.ones((groups, 1, stages), x.dtype) @ x)[:, 0]


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance [groups, channels] of x [groups, rows, channels], in two passes."""
    mean = sum_rows(x) / x.shape[1]
    return mean, sum_rows((x - mean[:, None]) ** 2) / x.shape[1]


def barrier(x: Array) -> Array:
    """`x`, which XLA:CPU does not fuse with what it is computed from."""
    return lax.optimization_barrier(x)


# --- which form is traced ----------------------------------------------------------------------


def eval_shape(function: Callable, *arguments: Any) -> Any:
    """`jax.eval_shape` of what calls networks, in about half the time.

    Layers are traced in the form for accelerators alone, whose shapes are those of every platform.
    """
    with tracing_only_shapes():
        # JAX keeps traces by their function: a new one, for this trace is of no use to others.
        return jax.eval_shape(lambda *arguments: function(*arguments), *arguments)


@contextlib.contextmanager
def tracing_only_shapes() -> Iterator[None]:
    """What is traced within it is not run: layers take the form for accelerators alone."""
    token = _ONLY_SHAPES.set(True)
    try:
        yield
    finally:
        _ONLY_SHAPES.reset(token)


def only_shapes() -> bool:
    """Whether `eval_shape`, or another that runs nothing, traces."""
    return _ONLY_SHAPES.get()


def by_platform(*arguments: Array, cpu: Callable, default: Callable) -> Any:
    """`lax.platform_dependent`, and within `eval_shape` the default."""
    if only_shapes():
        return default(*arguments)
    return lax.platform_dependent(*arguments, cpu=cpu, default=default)
