"""Standard deviations of layer responses (He et al. 2016, arXiv:1512.03385, Figure 7).

The response of a 3x3 convolution is the output of its batch norm, before the nonlinearity or the
addition.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from cnn_jax.errors import UserError
from cnn_jax.models import layers
from cnn_jax.models.inside import activations


def std_by_layer(
    model: nn.Module, variables: Mapping[str, Any], batches: Iterable[Any]
) -> dict[str, float]:
    """The standard deviation of each response over all positions, channels and images, in order.

    Args:
      batches: preprocessed images, float32 [B, H, W, C].

    Raises:
      UserError: no batch norm follows a 3x3 convolution, as in networks with pre-activation.
    """
    model, variables = activations.each_block(model, variables)
    names: dict[str, None] = {}

    @jax.jit
    def moments(images):
        found = responses_of(model, variables, images)
        names.update(dict.fromkeys(found))
        return [(y.mean(), (y**2).mean()) for y in found.values()]

    count, total = 0, 0.0
    for images in batches:
        total += len(images) * np.asarray(moments(images), np.float64)
        count += len(images)
    if not names:
        raise UserError(
            f"{type(model).__name__} has no batch norm after a 3x3 convolution, whose output would "
            "be the response"
        )
    mean, square = (total / count).T
    return dict(zip(names, np.sqrt(square - mean**2).tolist(), strict=True))


def responses_of(
    model: nn.Module, variables: Mapping[str, Any], images: jax.Array
) -> dict[str, jax.Array]:
    """The responses [B, H, W, C], float32, by the path of the convolution, in order."""
    outputs: list[tuple[str, Any]] = []  # of the 3x3 convolutions
    found = {}

    def note(call, arguments, keywords, context):
        result, module = call(*arguments, **keywords), context.module
        if context.method_name == "__call__" and isinstance(module, nn.Conv):
            if module.kernel_size == (3, 3):
                outputs.append(("/".join(module.path), result))
        elif context.method_name == "__call__" and isinstance(module, layers.BatchNorm):
            for name, output in outputs:
                if arguments[0] is output:
                    found[name] = result.astype(jnp.float32)
        return result

    with nn.intercept_methods(note):
        model.apply(variables, images, train=False)
    return found


def draw(found: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draws the standard deviations of each network, by layer and by magnitude, into a PNG file."""
    figure = Figure(figsize=(7, 6), layout="constrained")
    panels = figure.subplots(2)
    for network, layer_stds in found.items():
        stds = list(layer_stds.values())
        panels[0].plot(range(1, len(stds) + 1), stds, marker=".", label=network)
        panels[1].plot(range(1, len(stds) + 1), sorted(stds, reverse=True), marker=".")
    panels[0].set(xlabel="layer index (original)", ylabel="std")
    panels[1].set(xlabel="layer index (sorted by magnitude)", ylabel="std")
    for axes in panels:
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    figure.savefig(path, dpi=120)
