"""How sensitive a network is to errors in each layer's weights, measured on unlabeled images.

For each layer we measure the second moments of its inputs (`moments`), and how strongly the
network's predictions react to its outputs (`gain`). An error E [out, columns] in its kernel then
changes the predictions by about

    KL(before || after) = 1/2 sum over o of gain[o] E[o] moments E[o]^T.

This is the Kronecker-factored Fisher information (Martens & Grosse 2015, arXiv:1503.05671), but its
factor of the outputs is reduced to its diagonal, and scaled to agree with the squared gradients.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jax import lax

from cnn_jax.errors import UserError

POSITIONS = 256  # about as many output positions of each image are used for a convolution
SHRINKAGE = 0.7  # how far gains move towards their mean: each is estimated from few images


class Sensitivity(NamedTuple):
    """How sensitive a network is to one convolution or linear layer."""

    moments: np.ndarray  # [groups, columns + 1, columns + 1]; columns: in x height x width, then 1
    gain: np.ndarray  # [out]


class Calibration:
    """Measures a network on unlabeled images before anything in it is quantized.

    Args:
      model: any network of the project whose stages are not scanned.
      variables: {"params", "batch_stats"}.
      batches: preprocessed images, float32 [B, H, W, C]; all batches have the same shape.
      seed: seed for the classes that are drawn from the network's predictions.

    Raises `UserError` if there are no images, or a stage is scanned.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping[str, Any],
        batches: Sequence[np.ndarray],
        seed: int = 0,
    ):
        if not len(batches):
            raise UserError("no images to calibrate with")
        for path, values in flatten_dict(dict(variables["params"]), sep="/").items():
            if path.endswith("kernel") and np.ndim(values) > 4:
                raise UserError(
                    f"{path} holds several blocks, which images cannot calibrate: leave --images "
                    "out, or train with --config.model.unroll=True"
                )
        self.model, self.batches = model, batches
        self.count = sum(len(images) for images in batches)
        gradients, outputs = jax.jit(_squared_gradients(model)), jax.jit(_outputs(model))
        self.paths = _paths(model, variables, batches[0])
        keys = jax.random.split(jax.random.key(seed), len(batches))
        squared = [gradients(variables, *each) for each in zip(batches, keys, strict=True)]
        self._squared = jax.tree.map(lambda *batches: np.sum(batches, 0), *squared)
        self._outputs = [outputs(variables, images) for images in batches]

    def layer(self, path: str, variables: Mapping[str, Any]) -> tuple[Sensitivity, np.ndarray]:
        """The sensitivity of the layer at `path` in a network with other `variables`.

        Also returns the products [groups, columns + 1, out / groups] of the layer's inputs with
        these variables and its outputs with the original ones. Least squares use them to make up
        for the changes in earlier layers.
        """
        products = jax.jit(_products(self.model, path))
        sums = [
            products(variables, images, outputs[path])
            for images, outputs in zip(self.batches, self._outputs, strict=True)
        ]
        moments, targets = jax.tree.map(lambda *batches: np.sum(np.float64(batches), 0), *sums)
        weight = moments[:, -1:, -1:].copy()
        moments, targets = moments / weight, targets / weight
        return Sensitivity(moments, self._gain(path, moments)), targets

    def _gain(self, path: str, moments: np.ndarray) -> np.ndarray:
        squares = functools.reduce(
            lambda tree, name: tree[name], path.split("/")[1:], self._squared
        )
        gain = squares.reshape(-1, squares.shape[-1]).sum(0, dtype=np.float64) / self.count
        energy = np.trace(moments[:, :-1, :-1], axis1=1, axis2=2)
        gain = gain / np.maximum(np.repeat(energy, len(gain) // len(energy)), 1e-30)
        return np.maximum((1 - SHRINKAGE) * gain + SHRINKAGE * gain.mean(), 1e-30)


def _observed(model, look):
    """`run(variables, images)` calls `look(path, module, input, output)` for each layer."""

    def intercept(call, arguments, keywords, context):
        result = call(*arguments, **keywords)
        if context.method_name == "__call__" and isinstance(context.module, nn.Conv | nn.Dense):
            path = "/".join(("params", *context.module.path, "kernel"))
            look(path, context.module, arguments[0], result)
        return result

    def run(variables, images):
        with nn.intercept_methods(intercept):
            model.apply(variables, images, train=False)

    return run


def _paths(model, variables, images):
    """The paths of the kernels, in the order in which the network uses them."""
    paths = []
    run = _observed(model, lambda path, module, x, y: paths.append(path))
    jax.eval_shape(run, variables, images)
    return paths


def _outputs(model):
    """`outputs(variables, images)` gives the outputs of each layer: {path: [positions, out]}."""

    def outputs(variables, images):
        found = {}

        def look(path, module, x, y):
            rows = y.reshape(*y.shape[:1], -1, y.shape[-1])
            found[path] = _subsample(rows) if isinstance(module, nn.Conv) else y

        _observed(model, look)(variables, images)
        return found

    return outputs


def _products(model, path):
    """`products(variables, images, outputs)` sums inputs x inputs and inputs x outputs."""

    def products(variables, images, outputs):
        found = []

        def look(seen, module, x, y):
            if seen == path:
                found.append(_columns(module, x))

        _observed(model, look)(variables, images)
        (columns,) = found
        ones = jnp.ones((*columns.shape[:-1], 1), columns.dtype)
        columns = jnp.concatenate([columns, ones], -1).astype(jnp.float32)
        outputs = outputs.reshape(len(outputs), len(columns), -1)
        exact = functools.partial(jnp.einsum, precision="highest")
        return exact("gpi,gpj->gij", columns, columns), exact("gpi,pgo->gio", columns, outputs)

    return products


def _subsample(rows: jax.Array) -> jax.Array:
    """Keeps about `POSITIONS` evenly spaced rows of each image: [B, positions, n] -> [rows, n]."""
    stride = max(1, rows.shape[1] // POSITIONS)
    return rows[:, stride // 2 :: stride].reshape(-1, rows.shape[-1])


def _columns(module: nn.Module, x: jax.Array) -> jax.Array:
    """The inputs of each group of outputs: [groups, positions, in x height x width]."""
    if isinstance(module, nn.Dense):
        return x.reshape(1, -1, x.shape[-1])
    window = module.kernel_size
    ones = (1,) * len(window)
    padding = module.padding
    if not isinstance(padding, str):
        pairs = [padding] * len(window) if isinstance(padding, int) else padding
        padding = [(p, p) if isinstance(p, int) else tuple(p) for p in pairs]
    strides = module.strides or 1
    strides = (strides,) * len(window) if isinstance(strides, int) else strides
    dilation = module.kernel_dilation or 1
    dilation = (dilation,) * len(window) if isinstance(dilation, int) else dilation
    patches = lax.conv_general_dilated_patches(
        x,
        window,
        strides or ones,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    rows = _subsample(patches.reshape(len(x), -1, patches.shape[-1]))
    return rows.reshape(len(rows), module.feature_group_count, -1).transpose(1, 0, 2)


def _squared_gradients(model):
    """`gradients(variables, images, key)` estimates the sum over images of squared gradients.

    They are gradients of the log-probability of a class drawn from the network's predictions. Each
    image gets a random sign, so the expected square of the sum is the sum of the squares.
    """

    def loss(params, others, images, key):
        draw, flip = jax.random.split(key)
        logits = model.apply({"params": params, **others}, images, train=False)
        drawn = jax.random.categorical(draw, lax.stop_gradient(logits))
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), drawn[:, None], 1)[:, 0]
        return (chosen * jax.random.rademacher(flip, chosen.shape, chosen.dtype)).sum()

    def gradients(variables, images, key):
        others = {name: value for name, value in variables.items() if name != "params"}
        found = jax.grad(loss)(variables["params"], others, images, key)
        return jax.tree.map(jnp.square, found)

    return gradients
