"""Networks as files of Caffe, ONNX, TF-slim and Flax, and networks in PyTorch that do the same."""

import re

import flax.linen
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from tests.interop.readers import writing
from tests.interop.sources import networks
from tests.interop.sources.cases import Case, images, logits, torchvisions


def of_caffe(build, layers, size, old=False):
    """A case's `make`: `layers` gives (name, type, [arrays]) for a network's state dict."""

    def make(folder):
        network = networks.made(build())
        state = {key: value.numpy() for key, value in network.state_dict().items()}
        path = folder / "a.caffemodel"
        path.write_bytes(writing.caffe(layers(state), old=old))
        return path, images(size), logits(network, images(size))

    return make


def pairs(state, names):
    """Layers with a weight and a bias, by their names here and there."""
    for theirs, ours in names.items():
        arrays = [state[f"{theirs}.weight"], state[f"{theirs}.bias"]]
        yield ours, "InnerProduct" if arrays[0].ndim == 2 else "Convolution", arrays


def vgg16():
    """torchvision's, with narrow hidden layers."""
    network = torchvisions("vgg16")()
    network.classifier = nn.Sequential(
        *(nn.Linear(25088, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 7))
    )
    return network


def vgg16_layers(state):
    counts = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
    own = [f"conv{group}_{i}" for group, count in counts.items() for i in range(1, count + 1)]
    theirs = [key.removesuffix(".weight") for key in state if key.endswith("weight")]
    return pairs(state, dict(zip(theirs, [*own, "fc6", "fc7", "fc8"], strict=True)))


def squeezenet_layers(state):
    parts = ("squeeze1x1", "expand1x1", "expand3x3")
    own = ["conv1", *(f"fire{i}/{part}" for i in range(2, 10) for part in parts), "conv10"]
    theirs = [key.removesuffix(".weight") for key in state if key.endswith("weight")]
    return pairs(state, dict(zip(theirs, own, strict=True)))


def caffe_resnet50():
    """torchvision's, with the strides and the pool of the authors."""
    network = torchvisions("resnet50")()
    network.maxpool = nn.MaxPool2d(3, 2, 0, ceil_mode=True)
    for stage in (network.layer2, network.layer3, network.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return network


def caffe_resnet50_layers(state):
    """res2a_branch2a, bn2a_branch2a, scale2a_branch2a; averages are three times as large."""
    kinds = {"conv": "branch2", "downsample": "branch1"}
    for key, weight in state.items():
        layer = key.removesuffix(".weight")
        if layer == key or weight.ndim == 1:
            continue
        if layer == "fc":
            yield "fc1000", "InnerProduct", [weight, state["fc.bias"]]
            continue
        norm = layer.replace("conv", "bn").replace("downsample.0", "downsample.1")
        name, prefix = "_conv1", "conv1"
        if found := re.fullmatch(r"layer(\d)\.(\d)\.(conv|downsample)\.?(\d)", layer):
            stage, unit, kind, number = found.groups()
            last = "abc"[int(number) - 1] if kind == "conv" else ""
            name = f"{int(stage) + 1}{'abcdef'[int(unit)]}_{kinds[kind]}{last}"
            prefix = f"res{name}"
        yield prefix, "Convolution", [weight]
        statistics = [3 * state[f"{norm}.running_{what}"] for what in ("mean", "var")]
        yield f"bn{name}", "BatchNorm", [*statistics, np.float32([3])]
        yield f"scale{name}", "Scale", [state[f"{norm}.weight"], state[f"{norm}.bias"]]


class AlexNet(nn.Sequential):
    """BVLC's, with narrow hidden layers."""

    def __init__(self):
        def pool():
            return nn.MaxPool2d(3, 2, ceil_mode=True)

        def norm():
            return nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)

        super().__init__(
            *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), norm(), pool()),
            *(nn.Conv2d(96, 256, 5, 1, 2, groups=2), nn.ReLU(), norm(), pool()),
            *(nn.Conv2d(256, 384, 3, 1, 1), nn.ReLU()),
            *(nn.Conv2d(384, 384, 3, 1, 1, groups=2), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, 1, 1, groups=2), nn.ReLU(), pool(), nn.Flatten()),
            *(nn.Linear(9216, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 7)),
        )


def alexnet_layers(state):
    own = [*(f"conv{i}" for i in range(1, 6)), "fc6", "fc7", "fc8"]
    theirs = [key.removesuffix(".weight") for key in state if key.endswith("weight")]
    return pairs(state, dict(zip(theirs, own, strict=True)))


def of_onnx(name, size, **options):
    """A case's `make`: PyTorch's own export of torchvision's network."""

    def make(folder):
        network = networks.made(torchvisions(name)())
        example = torch.from_numpy(images(size).transpose(0, 3, 1, 2).copy())
        path = folder / "a.onnx"
        torch.onnx.export(network, (example,), path, **options)
        return path, images(size), logits(network, images(size))

    return make


class FlaxUnit(flax.linen.Module):
    """A basic unit as Flax's example has it."""

    channels: int
    stride: int

    @flax.linen.compact
    def __call__(self, x):
        def conv(size, **options):
            return flax.linen.Conv(self.channels, (size, size), use_bias=False, **options)

        def norm(**options):
            return flax.linen.BatchNorm(use_running_average=True, epsilon=1e-5, **options)

        y = flax.linen.relu(norm()(conv(3, strides=self.stride)(x)))
        y = norm()(conv(3)(y))
        if x.shape != y.shape:
            x = norm(name="norm_proj")(conv(1, strides=self.stride, name="conv_proj")(x))
        return flax.linen.relu(x + y)


class FlaxResNet18(flax.linen.Module):
    """Depth 18, by the names of Flax's example."""

    @flax.linen.compact
    def __call__(self, x):
        conv = flax.linen.Conv(64, (7, 7), 2, ((3, 3), (3, 3)), use_bias=False, name="conv_init")
        norm = flax.linen.BatchNorm(use_running_average=True, epsilon=1e-5, name="bn_init")
        x = flax.linen.max_pool(flax.linen.relu(norm(conv(x))), (3, 3), (2, 2), "SAME")
        for i in range(8):
            stride = 2 if i in (2, 4, 6) else 1
            x = FlaxUnit(64 * 2 ** (i // 2), stride, name=f"ResNetBlock_{i}")(x)
        return flax.linen.Dense(7, name="Dense_0")(x.mean((1, 2)))


def of_flax(folder):
    """A case's `make`: a training state in msgpack."""
    network, batch = FlaxResNet18(), images(64)
    variables = jax.jit(network.init)(jax.random.key(0), batch)
    random = np.random.default_rng(0)

    def drawn(array):
        return array if array.ndim > 1 else random.uniform(0.5, 1.5, array.shape).astype("f4")

    variables = jax.tree.map(drawn, jax.device_get(variables))
    state = {"step": 3, **variables, "opt_state": {"mu": jnp.ones(3)}}
    (folder / "a.msgpack").write_bytes(flax.serialization.msgpack_serialize(jax.device_get(state)))
    return folder / "a.msgpack", batch, np.asarray(jax.jit(network.apply)(variables, batch))


CASES = (
    Case("Caffe", "VGG-16", of_caffe(vgg16, vgg16_layers, 64), "torchvision, renamed", True),
    Case("Caffe", "AlexNet", of_caffe(AlexNet, alexnet_layers, 227), "a port in the tests", True),
    Case(
        *("Caffe", "SqueezeNet 1.1"),
        of_caffe(torchvisions("squeezenet1_1"), squeezenet_layers, 64, old=True),
        "torchvision, renamed",
    ),
    Case(
        *("Caffe", "ResNet-50"),
        of_caffe(caffe_resnet50, caffe_resnet50_layers, 64),
        "torchvision, strides and pool changed",
        True,
    ),
    Case(
        *("torchvision", "resnet18.onnx"),
        of_onnx("resnet18", 64, dynamo=False),
        "torchvision",
        True,
        "onnx",
    ),
    Case(
        *("torchvision", "vgg11_bn.onnx"),
        of_onnx("vgg11_bn", 64, dynamo=True),
        "torchvision",
        True,
        "onnxscript",
    ),
    Case("Flax example", "ResNet18", of_flax, "a port in Flax's own layers", True),
)
