"""Trained weights of each source, made at random, and the logits of the source's own network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from cnn_jax.interop import reference
from tests.interop.sources import networks


class Case(NamedTuple):
    """A file of weights, and what its own network makes of images."""

    source: str  # as `Trained` names it
    network: str  # in the source's words
    make: Callable[[Path], tuple[Path, np.ndarray, np.ndarray]]  # file, images, logits
    against: str  # the implementation that gives the logits
    is_slow: bool = False
    needs: str = ""  # a package that may be missing


def images(size: int, count: int = 2) -> np.ndarray:
    """Normalized images [B, H, W, 3]."""
    return np.random.default_rng(0).standard_normal((count, size, size, 3)).astype(np.float32)


def logits(network: Any, batch: np.ndarray) -> np.ndarray:
    """Of a network of PyTorch."""
    with torch.no_grad():
        return network(torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())).numpy()


def of_torch(build, size, save=lambda state: state, name="weights.pth"):
    """A case's `make` for a network of PyTorch."""

    def make(folder):
        network = networks.made(build())
        torch.save(save(network.state_dict()), folder / name)
        return folder / name, images(size), logits(network, images(size))

    return make


def torchvisions(name, classes=7):
    """torchvision's network, which draws its weights."""
    return lambda: reference.network(name, classes)


def in_module(state):
    """As `DataParallel` and training scripts wrap it."""
    wrapped = {f"module.{key}": value for key, value in state.items()}
    return {"epoch": 3, "state_dict": wrapped, "best_prec1": 0.9}


def cifar(counts, channels, kind, shortcut, head):
    return lambda: networks.ResNet(counts, channels, kind, shortcut, head)


OWN = "a port in the tests"
CASES = (
    Case(
        *("akamaster", "resnet20, option A"),
        of_torch(cifar((3, 3, 3), 16, "A", "shortcut", "linear"), 32, in_module, "a.th"),
        OWN,
    ),
    Case(
        *("akamaster", "resnet62, option A"),
        of_torch(cifar((10, 10, 10), 16, "A", "shortcut", "linear"), 32),
        OWN,
        True,
    ),
    Case(
        *("akamaster", "resnet20, option B"),
        of_torch(cifar((3, 3, 3), 16, "B", "shortcut", "linear"), 32),
        OWN,
    ),
    Case(
        *("chenyaofo", "cifar10_resnet20"),
        of_torch(cifar((3, 3, 3), 16, "B", "downsample", "fc"), 32),
        OWN,
    ),
    Case(
        *("kuangliu", "ResNet18"),
        of_torch(cifar((2, 2, 2, 2), 64, "B", "shortcut", "linear"), 32, lambda s: {"net": s}),
        OWN,
    ),
    Case("xternalz", "WRN-16-2", of_torch(lambda: networks.WideResNet(2, 2), 32, in_module), OWN),
    Case(
        *("szagoruyko", "WRN-16-2"),
        of_torch(lambda: networks.WideResNet(2, 2), 32, networks.as_szagoruyko, "model.pt7"),
        OWN,
    ),
    Case(
        *("Hugging Face", "resnet-18"),
        of_torch(torchvisions("resnet18"), 64, networks.as_hugging_face, "pytorch_model.bin"),
        "torchvision, renamed",
    ),
    Case(
        *("Hugging Face", "resnet-50"),
        of_torch(torchvisions("resnet50"), 64, networks.as_hugging_face, "pytorch_model.bin"),
        "torchvision, renamed",
        True,
    ),
    *(
        Case("torchvision", name, of_torch(torchvisions(name), size), "torchvision", slow)
        for name, size, slow in [
            ("resnet18", 64, False),
            ("resnet50", 64, True),
            ("wide_resnet50_2", 64, True),
            ("resnext50_32x4d", 64, True),
            ("vgg11_bn", 64, True),
            ("vgg16", 64, True),
            ("squeezenet1_1", 64, False),
            ("squeezenet1_0", 64, True),
            ("alexnet", 63, True),
            ("googlenet", 64, True),
            ("inception_v3", 75, True),
        ]
    ),
)
