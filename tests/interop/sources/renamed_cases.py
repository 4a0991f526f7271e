"""Caffe's GoogLeNet, and networks of PyTorch and Keras as sources with other names have them."""

import re
from pathlib import Path

import flax.serialization
import jax
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tests.interop.readers import writing
from tests.interop.sources import keras_cases, networks
from tests.interop.sources.cases import Case, images, logits, torchvisions
from tests.interop.sources.other_cases import of_caffe, pairs

# 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection, and the channels that come in.
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32, 192),
    "3b": (128, 128, 192, 32, 96, 64, 256),
    "4a": (192, 96, 208, 16, 48, 64, 480),
    "4b": (160, 112, 224, 24, 64, 64, 512),
    "4c": (128, 128, 256, 24, 64, 64, 512),
    "4d": (112, 144, 288, 32, 64, 64, 512),
    "4e": (256, 160, 320, 32, 128, 128, 528),
    "5a": (256, 160, 320, 32, 128, 128, 832),
    "5b": (384, 192, 384, 48, 128, 128, 832),
}


class GoogLeNet(nn.Module):
    """BVLC's, by the names of its layers, without the classifiers that only a training has."""

    def __init__(self):
        super().__init__()
        own = {
            "conv1/7x7_s2": nn.Conv2d(3, 64, 7, 2, 3),
            "conv2/3x3_reduce": nn.Conv2d(64, 64, 1),
            "conv2/3x3": nn.Conv2d(64, 192, 3, 1, 1),
            "loss3/classifier": nn.Linear(1024, 7),
        }
        for name, (n1, r3, n3, r5, n5, pool, inputs) in MODULES.items():
            sizes = {"1x1": (inputs, n1, 1), "3x3_reduce": (inputs, r3, 1), "3x3": (r3, n3, 3)}
            sizes |= {"5x5_reduce": (inputs, r5, 1), "5x5": (r5, n5, 5)}
            for part, (before, after, side) in (sizes | {"pool_proj": (inputs, pool, 1)}).items():
                own[f"inception_{name}/{part}"] = nn.Conv2d(before, after, side, 1, side // 2)
        self.own = nn.ModuleDict(own)

    def forward(self, x):
        def conv(name, x):
            return functional.relu(self.own[name](x))

        def pool(x):
            return functional.max_pool2d(x, 3, 2, ceil_mode=True)

        def norm(x):
            return functional.local_response_norm(x, 5, 1e-4, 0.75, 1.0)

        x = norm(pool(conv("conv1/7x7_s2", x)))
        x = pool(norm(conv("conv2/3x3", conv("conv2/3x3_reduce", x))))
        for name in MODULES:
            part = f"inception_{name}/"
            branches = [
                conv(f"{part}1x1", x),
                conv(f"{part}3x3", conv(f"{part}3x3_reduce", x)),
                conv(f"{part}5x5", conv(f"{part}5x5_reduce", x)),
                conv(f"{part}pool_proj", functional.max_pool2d(x, 3, 1, 1)),
            ]
            x = torch.cat(branches, 1)
            x = pool(x) if name in ("3b", "4e") else x
        return self.own["loss3/classifier"](x.mean((2, 3)))


def googlenet_layers(state):
    names = [key.removesuffix(".weight") for key in state if key.endswith(".weight")]
    return pairs(state, {name: name.removeprefix("own.") for name in names})


def of_caffe2(folder: Path):
    """A case's `make`: torchvision's ResNet-50 with the strides of the paper, as Caffe2's ONNX."""
    network = torchvisions("resnet50")()
    for stage in (network.layer2, network.layer3, network.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    state = {key: value.numpy() for key, value in networks.made(network).state_dict().items()}
    nodes = []
    for key in [key for key in state if state[key].ndim == 4]:
        layer = key.removesuffix(".weight")
        name, norm, norm_name = "conv1", "bn1", "res_conv1_bn"
        if found := re.fullmatch(r"layer(\d)\.(\d)\.(conv|downsample)\.?(\d)", layer):
            stage, unit, kind, number = found.groups()
            name = f"res{int(stage) + 1}_{unit}_branch"
            name += f"2{'abc'[int(number) - 1]}" if kind == "conv" else "1"
            norm = layer.replace("conv", "bn").replace("downsample.0", "downsample.1")
            norm_name = f"{name}_bn"
        nodes.append(("", "Conv", {f"gpu_0/{name}_w_0": state[key]}, {}))
        kinds = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
        arrays = {f"gpu_0/{norm_name}_{k}_0": state[f"{norm}.{v}"] for k, v in kinds.items()}
        nodes.append(("", "BatchNormalization", arrays, {}))
    head = {"gpu_0/pred_w_0": state["fc.weight"], "gpu_0/pred_b_0": state["fc.bias"]}
    nodes.append(("", "Gemm", head, {"transB": 1}))
    (folder / "a.onnx").write_bytes(writing.onnx(nodes))
    return folder / "a.onnx", images(64), logits(network, images(64))


def of_szagoruyko(folder: Path):
    """A case's `make`: torchvision's wide_resnet50_2, its norms a part of its convolutions."""
    network = networks.made(torchvisions("wide_resnet50_2")())
    state, folded = network.state_dict(), {}
    for key in [key for key in state if key.endswith(".weight") and state[key].ndim == 4]:
        layer = key.removesuffix(".weight")
        norm = layer.replace("conv", "bn").replace("downsample.0", "downsample.1")
        scale, bias, mean, var = (
            state[f"{norm}.{kind}"] for kind in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / (var + 1e-5).sqrt()
        name = "conv0"
        if found := re.fullmatch(r"layer(\d)\.(\d)\.(conv|downsample)\.?(\d)", layer):
            group, unit, kind, number = found.groups()
            last = f"conv{int(number) - 1}" if kind == "conv" else "conv_dim"
            name = f"group{int(group) - 1}.block{unit}.{last}"
        folded[f"{name}.weight"] = state[key] * factor[:, None, None, None]
        folded[f"{name}.bias"] = bias - mean * factor
    folded |= {f"fc.{kind}": state[f"fc.{kind}"] for kind in ("weight", "bias")}
    torch.save(folded, folder / "a.pth")
    return folder / "a.pth", images(64), logits(network, images(64))


def of_old_keras(folder: Path):
    """A case's `make`: Keras 3's ResNet-50 by the names of Keras 2.2, with its epsilon."""
    import keras

    keras.utils.set_random_seed(0)
    options = {"weights": None, "classes": 7, "classifier_activation": None}
    network = keras.applications.ResNet50(input_shape=(64, 64, 3), **options)
    random, arrays = np.random.default_rng(1), {}
    for layer in network.layers:
        layer.set_weights([keras_cases.drawn(random, one) for one in layer.get_weights()])
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = 1e-3
        name = {"conv1_conv": "conv1", "conv1_bn": "bn_conv1", "predictions": "fc1000"}.get(
            layer.name
        )
        if found := re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", layer.name):
            stage, unit, number, kind = found.groups()
            branch = "branch1" if number == "0" else f"branch2{'abc'[int(number) - 1]}"
            kind = {"conv": "res"}.get(kind, kind)
            name = f"{kind}{stage}{'abcdef'[int(unit) - 1]}_{branch}"
        if layer.get_weights():
            arrays[name] = layer.get_weights()
    (folder / "a.h5").write_bytes(writing.keras(arrays))
    return folder / "a.h5", images(64, 1), np.asarray(network(images(64, 1), training=False))


def of_jax_resnet(folder: Path):
    """A case's `make`: jax-resnet's own ResNet-50, in msgpack."""
    import jax_resnet

    network, batch = jax_resnet.ResNet50(n_classes=7), images(64)
    random = np.random.default_rng(1)
    variables = jax.jit(network.init)(jax.random.key(0), batch)
    variables = jax.tree.map(lambda one: keras_cases.drawn(random, np.asarray(one)), variables)
    (folder / "a.msgpack").write_bytes(flax.serialization.msgpack_serialize(variables))
    apply = jax.jit(lambda variables: network.apply(variables, batch, mutable=False))
    return folder / "a.msgpack", batch, np.asarray(apply(variables))


CASES = (
    Case(
        *("Caffe", "GoogLeNet"),
        of_caffe(GoogLeNet, googlenet_layers, 64),
        "a port in the tests",
        True,
    ),
    Case("Caffe2", "ResNet-50", of_caffe2, "torchvision, strides changed, renamed", True),
    Case(
        *("szagoruyko", "WRN-50-2"), of_szagoruyko, "torchvision, batch norms folded, renamed", True
    ),
    Case("Keras 2.2", "ResNet50", of_old_keras, "Keras 3 on JAX, renamed", True, "keras"),
    Case("jax-resnet", "ResNet50", of_jax_resnet, "jax-resnet 0.0.4", True, "jax_resnet"),
)
