"""Compares a converted network with PyTorch's, layer by layer, to find where they first differ."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict

from cnn_jax.interop import reference, torchvision, translate
from cnn_jax.models import layers
from cnn_jax.models.residual_units import unrolled


class Difference(NamedTuple):
    """How far the outputs of one layer differ."""

    layer: str  # its path in our network
    torch_layer: str  # its prefix in torchvision's
    largest: float  # the largest absolute difference of the outputs
    relative: float  # the same, divided by the largest output


def layer_differences(
    name: str, state_dict: Mapping[str, Any], images: np.ndarray
) -> list[Difference]:
    """Evaluates both networks on `images`, float32 [B, H, W, 3], and compares their layers.

    Returns the differences of convolutions, batch norms and linear layers in the order in which the
    network computes them. Raises `UserError` if torchvision cannot be imported.
    """
    variables = unrolled(torchvision.to_flax(name, state_dict))
    classes = translate.number_of_classes(flatten_dict(variables))
    model = torchvision.module(name, classes)
    if hasattr(model, "unroll"):
        model = model.clone(unroll=True)
    theirs = _torch_outputs(name, classes, torchvision.to_torch(name, variables), images)
    prefixes = torchvision.layer_names(name)
    found = []
    for path, output in _flax_outputs(model, variables, images):
        expected = theirs[prefixes[path]]
        if expected.ndim == 4:
            expected = expected.transpose(0, 2, 3, 1)
        largest = float(np.abs(output - expected).max())
        relative = largest / max(float(np.abs(expected).max()), 1e-30)
        found.append(Difference(path, prefixes[path], largest, relative))
    return found


def _flax_outputs(model: nn.Module, variables: Any, images: np.ndarray):
    """Yields (path, output) of each layer in order."""
    kinds = (nn.Conv, nn.Dense, layers.BatchNorm)
    order: list[str] = []

    def is_layer(module: nn.Module, method: str) -> bool:
        if not isinstance(module, kinds) or method != "__call__":
            return False
        order.append("/".join(module.path))
        return True

    def run(variables, images):
        return model.apply(variables, images, train=False, capture_intermediates=is_layer)[1]

    seen = jax.jit(run)(variables, images)["intermediates"]
    for path in dict.fromkeys(order):
        node = seen
        for part in path.split("/"):
            node = node[part]
        yield path, np.asarray(node["__call__"][0])


def _torch_outputs(name: str, classes: int, state: Mapping[str, Any], images: np.ndarray) -> dict:
    """The output of each module of torchvision's network, by prefix."""
    network = reference.network(name, classes)
    import torch

    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    network.load_state_dict(tensors, strict=False)  # auxiliary heads may be missing
    network.eval()
    outputs = {}

    def keep(prefix):
        def hook(_module, _inputs, output):
            if isinstance(output, torch.Tensor):
                outputs[prefix] = output.numpy().copy()  # an in-place ReLU may follow

        return hook

    for prefix, module in network.named_modules():
        module.register_forward_hook(keep(prefix))
    with torch.no_grad():
        network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    return outputs
