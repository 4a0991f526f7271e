"""Codes all arrays of a network for the archive: exactly, with shared weights, or in steps."""

from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np

from cnn_jax.compression import archive, share, steps
from cnn_jax.compression.calibrate import Calibration, Sensitivity

MOST_SHARED = 4096  # a kernel with at most as many different values counts as shared
UNKNOWN_GAIN = 1.4e-4  # without images: a rate of 1e-7 gives steps of a tenth of the std
RIDGE = 0.02  # fraction of the mean second moment that keeps repaired weights near the old ones
FINER = 16  # the steps of a bias are this many times smaller than those of its kernel


def lossless(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Codes every value exactly: kernels with few different values by codebooks, else float32."""
    arrays = {}
    for path, values in flatten(variables).items():
        arrays[path] = values
        if is_kernel(path):
            shared = archive.codebook(values)
            if len(shared.codebook) <= min(MOST_SHARED, values.size * 3 // 5):
                arrays[path] = shared
    return arrays


def tied(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Codes kernels by the values that they were trained to share, and biases by codes of 8 bits.

    The shared values, and all other arrays, are rounded to half precision.
    """
    arrays = {}
    for path, values in flatten(variables).items():
        if is_kernel(path):
            arrays[path] = archive.codebook(half(values).astype(np.float32))
        elif path.endswith("/bias"):
            step = np.float32(max(np.abs(values).max(initial=0), 1e-20) / 127)
            arrays[path] = archive.Steps(np.rint(values / step).astype(int), step)
        else:
            arrays[path] = half(values)
    return arrays


def shared(variables: Mapping[str, Any], bits: int, initialization: str) -> dict[str, Any]:
    """Gives each kernel 2^bits shared values, and all other arrays half precision."""
    return {
        path: share.share(values, bits, initialization) if is_kernel(path) else half(values)
        for path, values in flatten(variables).items()
    }


def in_steps(
    variables: Mapping[str, Any], rate: float, calibration: Calibration | None = None
) -> dict[str, Any]:
    """Codes kernels and their biases in steps, and all other arrays in half precision.

    With a calibration each layer also makes up for the quantization of the layers before it. The
    sensitivity of a kernel without calibration follows from its std. `rate`: see `steps.quantize`.
    """
    flat = flatten(variables)
    arrays = {path: half(values) for path, values in flat.items()}
    changed = dict(flat)
    passed = calibration.paths if calibration else []
    for path in [*passed, *(path for path in flat if is_kernel(path) and path not in passed)]:
        name = path.removesuffix("kernel") + "bias"
        kernel, bias = flat[path], flat.get(name)
        if path in passed:
            tree = flax.traverse_util.unflatten_dict(changed, sep="/")
            layer, targets = calibration.layer(path, tree)
            kernel, bias = repaired(kernel, bias, layer, targets)
        else:
            layer = unknown(kernel)
        found, left = kernel_in_steps(kernel, bias, layer, rate)
        arrays[path], changed[path] = found, found.values()
        if left is not None:
            arrays[name], changed[name] = left, left.values()
    return {path: arrays[path] for path in flat}


def repaired(
    kernel: np.ndarray, bias: np.ndarray | None, layer: Sensitivity, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """The kernel and bias whose outputs, on the layer's new inputs, are nearest to the old ones."""
    axes = archive.order(kernel.ndim)
    turned = kernel.transpose(axes)
    matrix = turned.reshape(kernel.shape[-1], -1)
    weights = np.concatenate(
        [matrix, (np.zeros(len(matrix)) if bias is None else bias)[:, None]], 1
    )
    groups = weights.reshape(len(layer.moments), -1, weights.shape[-1])
    if bias is None:  # the last column belongs to the bias
        layer = layer._replace(moments=layer.moments[:, :-1, :-1])
        groups, targets = groups[..., :-1], targets[:, :-1]
    ridge = RIDGE * steps.mean_square(layer.moments, bias is not None)
    solved = np.linalg.solve(layer.moments + ridge, targets + ridge @ groups.swapaxes(1, 2))
    solved = solved.swapaxes(1, 2).reshape(len(matrix), -1)
    kernel = solved[:, : matrix.shape[1]].reshape(turned.shape).transpose(np.argsort(axes))
    return kernel, None if bias is None else solved[:, -1]


def kernel_in_steps(
    kernel: np.ndarray, bias: np.ndarray | None, layer: Sensitivity, rate: float
) -> tuple[archive.Steps, archive.Steps | None]:
    """Quantizes Flax's kernel [..., in, out] and bias [out]."""
    axes = archive.order(kernel.ndim)
    turned = kernel.transpose(axes)
    found, left = steps.quantize(turned.reshape(kernel.shape[-1], -1), bias, layer, rate)
    symbols = found.symbols.reshape(turned.shape).transpose(np.argsort(axes))
    if left is None:
        return archive.Steps(symbols, found.step), None
    # The input of a bias is 1, that of a column is the root of its moment on average.
    size = np.sqrt(np.diagonal(layer.moments, axis1=1, axis2=2)[:, :-1].mean())
    step = np.float32(max(float(found.step) * size / FINER, np.abs(left).max() / 2**16, 1e-20))
    return archive.Steps(symbols, found.step), archive.Steps(np.rint(left / step).astype(int), step)


def unknown(kernel: np.ndarray) -> Sensitivity:
    """The assumed sensitivity of a layer that was not calibrated."""
    outputs, columns = kernel.shape[-1], kernel.size // kernel.shape[-1]
    gain = UNKNOWN_GAIN / max(float(kernel[kernel != 0].var()) if kernel.any() else 1.0, 1e-30)
    return Sensitivity(np.eye(columns + 1)[None], np.full(outputs, gain))


def flatten(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays by path, such as "params/conv1/kernel"."""
    flat = flax.traverse_util.flatten_dict(dict(variables), sep="/")
    return {path: np.asarray(values) for path, values in flat.items()}


def is_kernel(path: str) -> bool:
    return path.startswith("params/") and path.endswith("/kernel")


def half(values: np.ndarray) -> np.ndarray:
    """float16 where its range suffices (error at most 2^-11 of the largest value), else float32."""
    largest = np.abs(values).max(initial=0)
    fits = largest == 0 or 6.2e-5 < largest < 6e4
    return values.astype(np.float16 if fits else np.float32)
