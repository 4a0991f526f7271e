"""What the layers of a network are sensitive to, from images without labels.

Of each layer: the second moments of what it sees, and how much the network's predictions move when
an output of the layer does. An error E [out, columns] in a kernel then moves them by about

    KL(before || after) = 1/2 sum over o of gain[o] E[o] moments E[o]^T.

That is the Kronecker-factored Fisher information (Martens & Grosse 2015, arXiv:1503.05671) with the
factor of the outputs reduced to its diagonal, and scaled to agree with the gradients themselves.
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

PLACES = 256  # of an image that a convolution is looked at in, about
SHRINKAGE = 0.7  # of the gains towards their mean: each has seen few images


class Sensitivity(NamedTuple):
    """Of one convolution or linear layer."""

    moments: np.ndarray  # [groups, columns + 1, columns + 1]; column (in, height, width), last: 1
    gain: np.ndarray  # [out]


class Calibration:
    """A network as it is before anything is quantized, on images without labels.

    Args:
      model: any network of the project whose stages are not scanned.
      variables: {"params", "batch_stats"}.
      batches: preprocessed images, float32 [B, H, W, C] each, all of one shape.
      seed: of the classes that are drawn from the network's predictions.

    Raises `UserError` without images, and for scanned stages.
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
        self._squared = jax.tree.map(lambda *parts: np.sum(parts, 0), *squared)
        self._outputs = [outputs(variables, images) for images in batches]

    def layer(self, path: str, variables: Mapping[str, Any]) -> tuple[Sensitivity, np.ndarray]:
        """Sensitivity of a layer in a network whose earlier layers are those of `variables`.

        Also the products [groups, columns + 1, out / groups] of what it sees there with what it
        gave in the network before: what least squares need to repair what came before it.
        """
        products = jax.jit(_products(self.model, path))
        sums = [
            products(variables, images, outputs[path])
            for images, outputs in zip(self.batches, self._outputs, strict=True)
        ]
        moments, targets = jax.tree.map(lambda *parts: np.sum(np.float64(parts), 0), *sums)
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


def _looking(model, look):
    """`apply(variables, images)` that shows `look` each layer's path, module, input and output."""

    def intercept(call, arguments, keywords, context):
        result = call(*arguments, **keywords)
        if context.method_name == "__call__" and isinstance(context.module, nn.Conv | nn.Dense):
            path = "/".join(("params", *context.module.path, "kernel"))
            look(path, context.module, arguments[0], result)
        return result

    def apply(variables, images):
        with nn.intercept_methods(intercept):
            model.apply(variables, images, train=False)

    return apply


def _paths(model, variables, images):
    """The kernels of the layers, in the order in which images pass them."""
    paths = []
    look = _looking(model, lambda path, module, x, y: paths.append(path))
    jax.eval_shape(look, variables, images)
    return paths


def _outputs(model):
    """What each layer gives: {path: [places, out]}."""

    def outputs(variables, images):
        found = {}

        def look(path, module, x, y):
            places = y.reshape(*y.shape[:1], -1, y.shape[-1])
            found[path] = _some(places) if isinstance(module, nn.Conv) else y

        _looking(model, look)(variables, images)
        return found

    return outputs


def _products(model, path):
    """Sums of products of what one layer sees, with itself and with `outputs` [places, out]."""

    def products(variables, images, outputs):
        found = []

        def look(seen, module, x, y):
            if seen == path:
                found.append(_columns(module, x))

        _looking(model, look)(variables, images)
        (columns,) = found
        ones = jnp.ones((*columns.shape[:-1], 1), columns.dtype)
        columns = jnp.concatenate([columns, ones], -1).astype(jnp.float32)
        outputs = outputs.reshape(len(outputs), len(columns), -1)
        exact = functools.partial(jnp.einsum, precision="highest")
        return exact("gpi,gpj->gij", columns, columns), exact("gpi,pgo->gio", columns, outputs)

    return products


def _some(places: jax.Array) -> jax.Array:
    """About `PLACES` of the places of each image: [B, places, n] -> [rows, n]."""
    apart = max(1, places.shape[1] // PLACES)
    return places[:, apart // 2 :: apart].reshape(-1, places.shape[-1])


def _columns(module: nn.Module, x: jax.Array) -> jax.Array:
    """What each group of outputs sees: [groups, places, columns], column (in, height, width)."""
    if isinstance(module, nn.Dense):
        return x.reshape(1, -1, x.shape[-1])
    window = module.kernel_size
    ones = (1,) * len(window)
    padding = module.padding
    if not isinstance(padding, str):
        whole = isinstance(padding, int)
        pairs = [padding] * len(window) if whole else padding
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
    places = _some(patches.reshape(len(x), -1, patches.shape[-1]))
    groups = module.feature_group_count
    return places.reshape(len(places), groups, -1).transpose(1, 0, 2)


def _squared_gradients(model):
    """Estimates of the sums over images of squared gradients, of the log-probability of a class.

    The classes are drawn from the network's predictions. With a random sign for each image, the
    square of the sum of the gradients is expected to be the sum of the squares.
    """

    def loss(params, others, images, key):
        draw, flip = jax.random.split(key)
        logits = model.apply({"params": params, **others}, images, train=False)
        drawn = jax.random.categorical(draw, lax.stop_gradient(logits))
        chances = jnp.take_along_axis(jax.nn.log_softmax(logits), drawn[:, None], 1)[:, 0]
        return (chances * jax.random.rademacher(flip, chances.shape, chances.dtype)).sum()

    def gradients(variables, images, key):
        others = {name: value for name, value in variables.items() if name != "params"}
        found = jax.grad(loss)(variables["params"], others, images, key)
        return jax.tree.map(jnp.square, found)

    return gradients
