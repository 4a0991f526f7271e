"""Activations are those of torchvision's forward hooks, and Grad-CAM is pytorch-grad-cam's."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from cnn_jax.analysis.explain import gradcam
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.interop import torchvision
from cnn_jax.models.inside import activations
from cnn_jax.runs import features
from tests.interop.test_torchvision import as_torch, images_for, relative

SLOW = pytest.mark.slow
MODULES = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
# By torchvision's name: what its larger parts are called by us.
PARTS = {
    "squeezenet1_1": {"features.12": "fire9", "features.6": "fire4"},
    "squeezenet1_0": {"features.12": "fire9", "features.7": "fire5"},
    "resnet18": {
        **{f"layer{i}": f"conv{i + 1}" for i in (1, 2, 3, 4)},
        **{f"layer{i}.{j}": f"conv{i + 1}/block{j + 1}" for i in (1, 2, 3, 4) for j in (0, 1)},
    },
    "inception_v3": {f"Mixed_{n}": f"Mixed_{n}" for n in MODULES},
}


def hooked(torch, network, names, images):
    """What the modules of these names give, channels last."""
    found, modules = {}, dict(network.named_modules())

    def keep(name):
        def hook(module, inputs, output):
            axes = (0, 2, 3, 1) if output.ndim == 4 else (0, 1)
            # A copy: an in-place ReLU may follow.
            found[name] = output.detach().clone().permute(*axes).numpy()

        return hook

    hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
    with torch.no_grad():
        network(as_torch(torch, images))
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize(
    "name",
    ["squeezenet1_1", *(pytest.param(n, marks=SLOW) for n in PARTS if n != "squeezenet1_1")],
)
def test_every_layer_gives_what_a_forward_hook_sees(name, network, arrays, torch):
    made = network(name).eval()
    variables = torchvision.to_flax(name, arrays(made))
    images = images_for(name)
    model, variables = activations.each_block(torchvision.module(name, 7), variables)
    named = {theirs: ours for ours, theirs in torchvision.layer_names(name).items()} | PARTS[name]
    known = activations.shapes(model, images.shape[1:])
    named = {theirs: ours for theirs, ours in named.items() if ours in known}
    wanted = tuple(named.values())
    layers = {"/".join(path[:-1]) for path in flatten_dict(variables["params"])}
    assert {layer for layer in layers if not layer.startswith("Aux")} <= set(wanted)
    ours = jax.jit(lambda v, x: activations.apply(model, v, x, wanted)[1])(variables, images)
    theirs = hooked(torch, made, named, images)
    assert {n: relative(ours[named[n]], theirs[n]) for n in named} == {
        n: pytest.approx(0, abs=1e-4) for n in named
    }


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer4"), ("squeezenet1_1", "features")])
def test_grad_cam_is_that_of_pytorch_grad_cam(name, layer, method, network, arrays, torch):
    theirs = pytest.importorskip("pytorch_grad_cam", reason="pip install grad-cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    made = network(name).eval()
    images = images_for(name)
    with torch.no_grad():
        classes = made(as_torch(torch, images)).argmax(1).tolist()  # a logit of 0 has no gradient
    kind = theirs.GradCAM if method == "grad-cam" else theirs.GradCAMPlusPlus
    with kind(model=made, target_layers=[getattr(made, layer)[-1]]) as cam:
        chosen = [targets.ClassifierOutputTarget(label) for label in classes]
        expected = cam(as_torch(torch, images), chosen)
    model, variables = activations.each_block(
        torchvision.module(name, 7), torchvision.to_flax(name, arrays(made))
    )
    layer = activations.last_map(activations.shapes(model, images.shape[1:]))
    as_they_are = Preprocessing(np.zeros(1, np.float32), np.ones(1, np.float32), None)
    how = (model, (layer,), "default", "plain", variables, as_they_are, images)
    _, maps, gradients = features._traced(*how, np.array(classes))
    maps, gradients = np.asarray(maps[layer]), np.asarray(gradients[layer])
    weights = gradcam.METHODS[method](maps, gradients)
    found = np.maximum(np.einsum("bhwc,bc->bhw", maps, weights), 0)
    # Theirs begins at 0, and is divided by its maximum and a constant, which counts where gradients
    # are small.
    found = gradcam.pictures.resized(found - found.min((1, 2), keepdims=True), images.shape[1:3])
    found, expected = (heat / heat.max((1, 2), keepdims=True) for heat in (found, expected))
    np.testing.assert_allclose(found, expected, atol=1e-3)
