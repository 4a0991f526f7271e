"""Networks in PyTorch with the names of repositories, to compare with; written for these tests."""

import re

import torch
from torch import nn
from torch.nn import functional


class Unit(nn.Module):
    """Two 3x3 convolutions and a shortcut, `kind`: "A" pads on both sides, else it projects."""

    def __init__(self, inputs, channels, stride, kind, name):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.kind, self.name, self.changes = kind, name, inputs != channels
        if self.changes and kind == "B":
            project = nn.Conv2d(inputs, channels, 1, stride, bias=False)
            setattr(self, name, nn.Sequential(project, nn.BatchNorm2d(channels)))

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.changes and self.kind == "A":
            each = (y.shape[1] - x.shape[1]) // 2
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, each, each))
        elif self.changes:
            x = getattr(self, self.name)(x)
        return functional.relu(x + y)


class ResNet(nn.Module):
    """A residual network for 32x32 images; its first stage has the channels of the stem."""

    def __init__(self, counts, channels, kind, shortcut, head, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        self.bn1, self.head, self.stages = nn.BatchNorm2d(channels), head, len(counts)
        for stage, count in enumerate(counts):
            out = channels * 2 ** min(stage, 1)
            units = [Unit(channels, out, 1 + (stage > 0), kind, shortcut)]
            units += [Unit(out, out, 1, kind, shortcut) for _ in range(count - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*units))
            channels = out
        setattr(self, head, nn.Linear(channels, classes))

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class WideUnit(nn.Module):
    """Batch norm and ReLU before each convolution, and before the projection of that name."""

    def __init__(self, inputs, channels, stride, shortcut="convShortcut"):
        super().__init__()
        self.projection = shortcut if inputs != channels else None
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        if self.projection:
            setattr(self, shortcut, nn.Conv2d(inputs, channels, 1, stride, bias=False))

    def forward(self, x):
        y = functional.relu(self.bn1(x))
        x = getattr(self, self.projection)(y) if self.projection else x
        return x + self.conv2(functional.relu(self.bn2(self.conv1(y))))


class WideResNet(nn.Module):
    """xternalz's names: "block2.layer.0.convShortcut"."""

    def __init__(self, count, width, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        inputs = 16
        for group in (1, 2, 3):
            out = 8 * 2**group * width
            units = [WideUnit(inputs, out, 1 + (group > 1))]
            units += [WideUnit(out, out, 1) for _ in range(count - 1)]
            setattr(self, f"block{group}", nn.ModuleDict({"layer": nn.Sequential(*units)}))
            inputs = out
        self.bn1, self.fc = nn.BatchNorm2d(inputs), nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.conv1(x)
        for group in (self.block1, self.block2, self.block3):
            x = group["layer"](x)
        return self.fc(functional.relu(self.bn1(x)).mean((2, 3)))


def as_szagoruyko(state):
    """The state dict of `WideResNet` as "params" and "stats", by the names of the authors' port."""

    def renamed(key):
        key = re.sub(r"^bn1\.", "bn.", key)
        key = re.sub(r"^conv1\.weight", "conv0", key)
        found = re.fullmatch(r"block(\d)\.layer\.(\d+)\.(\w+)\.(\w+)", key)
        if not found:
            return key
        group, unit, layer, kind = found.groups()
        layer = {"convShortcut": "convdim"}.get(layer) or f"{layer[:-1]}{int(layer[-1]) - 1}"
        kind = "" if layer.startswith("conv") else f".{kind}"
        return f"group{int(group) - 1}.block{unit}.{layer}{kind}"

    arrays = {renamed(k): v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    stats = {key: value for key, value in arrays.items() if "running" in key}
    return {"params": {k: v for k, v in arrays.items() if k not in stats}, "stats": stats}


def as_hugging_face(state):
    """The state dict of torchvision's ResNet by the names of transformers."""

    def renamed(key):
        kinds = {"conv": "convolution", "bn": "normalization"}
        if found := re.match(r"(conv|bn)1\.", key):
            return f"resnet.embedder.embedder.{kinds[found[1]]}.{key[found.end() :]}"
        if found := re.match(r"layer(\d)\.(\d+)\.(conv|bn)(\d)\.", key):
            stage, unit, kind, number = found.groups()
            place = f"stages.{int(stage) - 1}.layers.{unit}.layer.{int(number) - 1}"
            return f"resnet.encoder.{place}.{kinds[kind]}.{key[found.end() :]}"
        if found := re.match(r"layer(\d)\.(\d+)\.downsample\.(\d)\.", key):
            kind = ("convolution", "normalization")[int(found[3])]
            place = f"stages.{int(found[1]) - 1}.layers.{found[2]}.shortcut.{kind}"
            return f"resnet.encoder.{place}.{key[found.end() :]}"
        return key.replace("fc.", "classifier.1.")

    return {renamed(key): value for key, value in state.items()}


def made(network):
    """The network in evaluation, with random statistics, scales, shifts and biases."""
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.2)
            nn.init.normal_(part.running_mean, 0, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
        elif isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None:
            nn.init.normal_(part.bias, 0, 0.1)
    return network.eval()
