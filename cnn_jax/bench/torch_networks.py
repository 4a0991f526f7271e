"""The same networks in PyTorch: torchvision's, and our own for images of 32x32 pixels.

Their layers have the names of the Flax networks, "conv2.block1.conv1", so that weights can be
copied.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.interop import reference, torchvision
from cnn_jax.models import cifar_resnet, residual_units, wide_resnet

# Options that do not change which layers there are.
WITHOUT_LAYERS = {"dtype", "bn_group_size", "bn_momentum", "bn_epsilon", "unroll", "dropout"}
WITHOUT_LAYERS |= {"auxiliary_dropout", "init_fan", "weight_init", "kernel_init", "gamma", "remat"}
WITHOUT_LAYERS |= {"zero_init_gamma", "gate_bias"}


def create(
    model: Mapping[str, Any], image_channels: int, classes: int, parameters: int
) -> nn.Module:
    """The untrained counterpart of `models.create(**model, num_classes=classes)`.

    Raises `UserError` where there is none, or its number of parameters is not `parameters`.
    """
    options = models.options(model["name"]) | dict(model)
    own = {"cifar_resnet": cifar_network, "wide_resnet": wide_network}.get(model["name"])
    if own:
        network = own(options, image_channels, classes)
    else:
        network = reference.network(torchvision_name(options), classes)
    count = sum(parameter.numel() for parameter in network.parameters())
    if count != parameters:
        raise UserError(
            f"PyTorch's {model['name']} has {count:,} parameters and ours {parameters:,}: "
            "these are different networks (torchvision's have images with 3 channels)"
        )
    return network


def torchvision_name(options: Mapping[str, Any]) -> str:
    """torchvision's name of the network; without one a `UserError` that names the closest."""
    differences = {}
    for name in torchvision.names():
        theirs = torchvision.options(name)
        if theirs["name"] == options["name"]:
            theirs = models.options(options["name"]) | theirs
            differences[name] = {
                key: value
                for key, value in theirs.items()
                if key not in WITHOUT_LAYERS and value != options[key]
            }
    closest = min(differences, key=lambda name: len(differences[name]))
    if differences[closest]:
        changes = (f"--config.model.{key}={value}" for key, value in differences[closest].items())
        network = f"torchvision has no {options['name']} like this"
        raise UserError(f"{network}; for its {closest} set {' '.join(changes)}")
    return closest


class Unit(nn.Module):
    """A residual unit with identity or projection; see `models.residual_units.ResidualUnit`."""

    def __init__(
        self,
        kernels: Sequence[int],
        channels: Sequence[int],
        stride: int,
        *,
        preactivated: bool,
        residual: bool = True,
        activated: bool = False,
        projects: bool = True,
        dropout: float = 0.0,
    ):
        """Makes the layers.

        Args:
          channels: of the input, and of the output of each convolution.
          activated: whether the input comes from the first batch norm and ReLU of the network.
        """
        super().__init__()
        self.preactivated, self.residual, self.activated = preactivated, residual, activated
        self.stride, self.out, self.count = stride, channels[-1], len(kernels)
        self.changes = stride != 1 or channels[0] != channels[-1]
        for i, kernel in enumerate(kernels):
            conv = convolution(channels[i], channels[i + 1], kernel, stride if i == 0 else 1)
            self.add_module(f"conv{i + 1}", conv)
            if i or not activated or not preactivated:
                norm = nn.BatchNorm2d(channels[i] if preactivated else channels[i + 1])
                self.add_module(f"bn{i + 1}", norm)
        self.dropout = nn.Dropout(dropout)
        self.projects = projects and residual and self.changes
        if self.projects:
            self.shortcut = convolution(channels[0], channels[-1], 1, stride)
            if not preactivated:
                self.shortcut_bn = nn.BatchNorm2d(channels[-1])

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, channels[-1], H / stride, W / stride]."""
        y = x
        if self.preactivated and not self.activated:
            y = functional.relu(self.bn1(y))
        skip = self._skip(y if self.changes else x)
        for i in range(1, self.count + 1):
            if self.preactivated and i > 1:
                y = self.dropout(functional.relu(self.get_submodule(f"bn{i}")(y)))
            y = self.get_submodule(f"conv{i}")(y)
            if not self.preactivated:
                y = self.get_submodule(f"bn{i}")(y)
                y = functional.relu(y) if i < self.count else y
        y = y + skip if self.residual else y
        return y if self.preactivated else functional.relu(y)

    def _skip(self, x):
        if self.projects:
            skip = self.shortcut(x)
            return skip if self.preactivated else self.shortcut_bn(skip)
        if not self.changes:
            return x
        x = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, 0, self.out - x.shape[1]))


class Network(nn.Module):
    """A 3x3 convolution, three stages of units, global average pooling, a linear layer."""

    def __init__(
        self,
        image_channels: int,
        stages: Mapping[str, list[Unit]],
        classes: int,
        *,
        first: bool,
        last: bool,
    ):
        """`first` and `last` add a batch norm with ReLU before and after the stages."""
        super().__init__()
        self.conv1 = convolution(image_channels, 16, 3, 1)
        if first:
            self.bn1 = nn.BatchNorm2d(16)
        for name, units in stages.items():
            named = OrderedDict((f"block{i}", unit) for i, unit in enumerate(units, 1))
            self.add_module(name, nn.Sequential(named))
        channels = units[-1].out
        if last:
            self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)
        self.first, self.last, self.stages = first, last, tuple(stages)

    def forward(self, images: Tensor) -> Tensor:
        """[B, image_channels, H, W] -> [B, classes]."""
        x = self.conv1(images)
        x = functional.relu(self.bn1(x)) if self.first else x
        for name in self.stages:
            x = self.get_submodule(name)(x)
        x = functional.relu(self.bn(x)) if self.last else x
        return self.fc(x.mean((2, 3)))


def convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    """A convolution without bias, padded to keep the size at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def cifar_network(options: Mapping[str, Any], image_channels: int, classes: int) -> Network:
    """`models.cifar_resnet` in the orders "original" and "full pre-activation", without gates."""
    order, bottleneck = options["order"], options["block"] == "bottleneck"
    shortcut = options["shortcut"] or ("B" if bottleneck else "A")
    supported = {
        "order": order in ("original", "full pre-activation"),
        "shortcut": shortcut in ("A", "B"),
        "gating": options["gating"] == "none",
        **{name: options[name] == 1.0 for name in ("shortcut_scale", "residual_scale")},
        **{name: not options[name] for name in ("shortcut_dropout", "death_rate")},
    }
    for name, is_supported in supported.items():
        if not is_supported:
            raise UserError(
                f"there is no PyTorch counterpart for cifar_resnet with model.{name}="
                f"{options[name]!r}"
            )
    kernels = residual_units.BLOCKS[options["block"]]
    count = (options["depth"] - 2) // (3 * len(kernels))
    stages, inputs = {}, 16
    for name, inner, stride in cifar_resnet.STAGES:
        channels = [*[inner] * (len(kernels) - 1), 4 * inner if bottleneck else inner]
        stages[name] = [
            Unit(
                kernels,
                [channels[-1] if i else inputs, *channels],
                1 if i else stride,
                preactivated=order != "original",
                residual=options["residual"],
                activated=not stages and not i,
                projects=shortcut == "B",
            )
            for i in range(count)
        ]
        inputs = channels[-1]
    last = order != "original"
    return Network(image_channels, stages, classes, first=True, last=last)


def wide_network(options: Mapping[str, Any], image_channels: int, classes: int) -> Network:
    """`models.wide_resnet`, with any of its blocks."""
    deepened = (3,) * options["deepening"]
    kernels = deepened if options["block"] == "B(3,3)" else wide_resnet.BLOCKS[options["block"]]
    count = (options["depth"] - 4) // (3 * options["deepening"])
    stages, inputs = {}, 16
    for name, base, stride in cifar_resnet.STAGES:
        width = base * options["width"]
        stages[name] = [
            Unit(
                kernels,
                [width if i else inputs, *[width] * len(kernels)],
                1 if i else stride,
                preactivated=True,
                dropout=options["dropout"],
            )
            for i in range(count)
        ]
        inputs = width
    return Network(image_channels, stages, classes, first=False, last=True)
