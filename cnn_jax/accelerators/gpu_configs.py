"""What XLA must know of a GPU to compile for it: the text of a `GpuTargetConfigProto`.

The numbers are those that a device's driver tells XLA; openxla/xla has such texts in
xla/backends/gpu/target_config/specs.
"""

from pathlib import Path
from typing import NamedTuple

from cnn_jax.accelerators.targets import GPUS
from cnn_jax.errors import UserError


class Generation(NamedTuple):
    capability: int
    float32_units: int  # of a core (streaming multiprocessor)
    core_memory: int  # bytes that the blocks on a core share
    l2: int  # bytes


AMPERE = Generation(8, 64, 167_936, 41_943_040)
HOPPER = Generation(9, 128, 233_472, 52_428_800)
# By the name in a target: the device's own name, generation, cores and GHz.
MODELS = {
    "a100-40gb": ("NVIDIA A100-SXM4-40GB", AMPERE, 108, 1.41),
    "a100": ("NVIDIA A100-SXM4-80GB", AMPERE, 108, 1.41),
    "h100-pcie": ("NVIDIA H100 PCIe", HOPPER, 114, 1.755),
    "h100-nvl": ("NVIDIA H100 NVL", HOPPER, 132, 1.785),
    "h200-nvl": ("NVIDIA H200 NVL", HOPPER, 132, 1.785),
    "h100": ("NVIDIA H100 80GB HBM3", HOPPER, 132, 1.98),
    "h200": ("NVIDIA H200", HOPPER, 132, 1.98),
}
TEXT = """\
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {generation.core_memory}
  shared_memory_per_block_optin: {block_memory}
  threads_per_core_limit: 2048
  core_count: {cores}
  fpus_per_core: {generation.float32_units}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {chip.bandwidth:.0f}
  device_memory_size: {chip.memory}
  l2_cache_size: {generation.l2}
  clock_rate_ghz: {clock}
  cuda_compute_capability {{ major: {generation.capability} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 }}
runtime_version {{ major: 12 minor: 9 patch: 0 }}
device_description_str: "{description}"
"""


def text(name: str, file: Path | None) -> str:
    """What a file has, or the text for a GPU of `targets.GPUS`.

    Raises:
      UserError: a file that is none.
    """
    if file is not None:
        return read(file)
    description, generation, cores, clock = MODELS[name]
    return TEXT.format(
        description=description,
        generation=generation,
        cores=cores,
        clock=clock,
        chip=GPUS[name],
        block_memory=generation.core_memory - 1024,  # CUDA keeps 1 KiB of each block's
    )


def read(file: Path) -> str:
    """The text of a file; raises `UserError` for one that is no target config."""
    if not file.is_file():
        raise UserError(f"--target_config={file}: there is no such file")
    found = file.read_text(errors="replace")
    if "gpu_device_info" not in found:
        raise UserError(
            f"--target_config={file} is no target config: it is the text of a "
            "GpuTargetConfigProto, which begins with 'gpu_device_info {'"
        )
    return found
