"""The devices that one can plan for, as their makers publish them: peaks, memory, links.

Sources: the data sheets of NVIDIA's A100, H100 and H200 (halved where they count sparsity, or both
directions of a link), and of DGX A100 and DGX H100 for the network between hosts; for TPUs
docs.cloud.google.com/tpu/docs, pages v4, v5e, v5p and v6e.
"""

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from cnn_jax import errors

GIB = 2**30


class Chip(NamedTuple):
    """One device. FLOP/s are without sparsity; rates of links are of one direction."""

    kind: str  # a part of JAX's `device_kind`
    bfloat16: float  # FLOP/s
    float32: float  # FLOP/s as JAX computes by default: TF32 on NVIDIA, bfloat16 products on TPU
    bandwidth: float  # of its memory, bytes/s
    memory: int  # bytes
    link: float  # bytes/s to the GPUs of its host; of a TPU, of one of its ports
    network: float = 0.0  # bytes/s that a GPU of several hosts has for itself
    clock: float = 0.0  # Hz of a TPU's core where its peak tells it, 0 elsewhere

    def flops(self, dtype: str) -> float:
        """FLOP/s in "bfloat16" or "float32"."""
        return self.bfloat16 if dtype == "bfloat16" else self.float32


# By the name in a target; the first whose `kind` is in a `device_kind` is that device.
GPUS = {
    "a100-40gb": Chip("A100-SXM4-40GB", 312e12, 156e12, 1.555e12, 42_331_013_120, 300e9, 25e9),
    "a100": Chip("A100", 312e12, 156e12, 2.039e12, 85_100_068_864, 300e9, 25e9),
    # Cards without NVLink's switch: PCIe between them; a network of 400 Gbit/s for each pair.
    "h100-pcie": Chip("H100 PCIe", 756e12, 378e12, 2.0e12, 84_942_979_072, 64e9, 25e9),
    "h100-nvl": Chip("H100 NVL", 835e12, 417e12, 3.9e12, 100_485_038_080, 64e9, 25e9),
    "h200-nvl": Chip("H200 NVL", 835e12, 417e12, 4.8e12, 150_754_820_096, 64e9, 25e9),
    "h100": Chip("H100", 989e12, 494e12, 3.35e12, 84_942_979_072, 450e9, 50e9),
    "h200": Chip("H200", 989e12, 494e12, 4.8e12, 151_397_597_184, 450e9, 50e9),
}
TPUS = {
    "v4": Chip("TPU v4", 275e12, 275e12, 1.228e12, 32 * GIB, 50e9),
    "v5e": Chip("TPU v5 lite", 197e12, 197e12, 819e9, 16 * GIB, 50e9, clock=1.5e9),
    "v5p": Chip("TPU v5", 459e12, 459e12, 2.765e12, 95 * GIB, 100e9),
    "v6e": Chip("TPU v6 lite", 918e12, 918e12, 1.638e12, 32 * GIB, 100e9),
}
CHIPS = GPUS | TPUS
# Chips along an axis from which on its ends are linked, too: a torus instead of a mesh.
AXES, TORUS = {"v4": 3, "v5e": 2, "v5p": 3, "v6e": 2}, {2: 16, 3: 4}


@dataclass(frozen=True)
class Target:
    """Some devices of a kind, linked."""

    platform: str  # "gpu" or "tpu"
    name: str  # of `CHIPS`
    shape: tuple[int, ...]  # (hosts, GPUs of each), or the axes of a TPU slice

    def __str__(self) -> str:
        shape = self.shape[1:] if self.platform == "gpu" and self.shape[0] == 1 else self.shape
        return f"{self.platform}:{self.name}:{'x'.join(map(str, shape))}"

    @property
    def chip(self) -> Chip:
        """One of its devices."""
        return CHIPS[self.name]

    @property
    def devices(self) -> int:
        """How many there are."""
        return math.prod(self.shape)

    def all_reduce_seconds(self, size: float) -> float:
        """The least that adding up `size` bytes over all devices takes, each with its own.

        Every device sends and receives 2 (n - 1) / n of them, over all its links at once; several
        hosts of GPUs first add up within the host, then each GPU its part between hosts.
        """
        if self.platform == "gpu":
            hosts, gpus = self.shape
            within = ring(gpus) * size / self.chip.link
            return within + (ring(hosts) * size / gpus / self.chip.network if hosts > 1 else 0)
        torus = TORUS[len(self.shape)]
        ports = sum((2 if axis >= torus else 1) for axis in self.shape if axis > 1)
        return ring(self.devices) * size / (max(ports, 1) * self.chip.link)


def ring(count: int) -> float:
    """What each of `count` devices sends of what is added up over them, in parts of its size."""
    return 2 * (count - 1) / count


def parse(text: str) -> Target:
    """The target "gpu:h100:8", "gpu:h100:2x8" (two hosts of eight) or "tpu:v5e:2x2".

    Raises:
      UserError: another text, with the targets there are.
    """
    match = re.fullmatch(r"(gpu|tpu):([a-z0-9-]+):([1-9]\d{0,4}(?:x[1-9]\d{0,4}){0,2})", text)
    platform, name, numbers = match.groups() if match else ("", "", "")
    shape = tuple(map(int, numbers.split("x"))) if match else ()
    if platform == "gpu" and name in GPUS and len(shape) <= 2:
        return Target(platform, name, (1, *shape)[-2:])
    if platform == "tpu" and name in TPUS and len(shape) == AXES[name]:
        return Target(platform, name, shape)
    raise errors.unknown("target", text, choices())


def choices() -> list[str]:
    """A target for each kind of device, and N for numbers."""
    gpus = [f"gpu:{name}:N" for name in sorted(GPUS)]
    return [*gpus, "gpu:h100:2x8", *(f"tpu:{n}:{'x'.join('N' * AXES[n])}" for n in TPUS)]


def peak(device_kind: str, dtype: str) -> float | None:
    """FLOP/s of a device in "bfloat16" or "float32"; None where it is not known."""
    chip = of_kind(device_kind)
    return None if chip is None else chip.flops(dtype)


def of_kind(device_kind: str) -> Chip | None:
    """The device that JAX calls so; None where it is not known."""
    return next((chip for chip in CHIPS.values() if chip.kind in device_kind), None)
