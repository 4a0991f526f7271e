"""Compares a converted network with PyTorch's, layer by layer, to find where they first differ."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from cnn_jax.interop import reference, torchvision
from cnn_jax.models import layers


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
    state = torchvision.as_torchvision(state_dict)
    model = torchvision.module(name, torchvision.number_of_classes(state))
    options = {"unroll": True} if hasattr(model, "unroll") else {}
    model = model.clone(**options)
    variables = torchvision.to_flax(name, state, **options)
    theirs = _torch_outputs(name, state, images)
    prefixes = torchvision.layer_names(name, model)
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


def _torch_outputs(name: str, state: Mapping[str, np.ndarray], images: np.ndarray) -> dict:
    """The output of each module of torchvision's network, by prefix."""
    network = reference.network(name, torchvision.number_of_classes(state))
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
