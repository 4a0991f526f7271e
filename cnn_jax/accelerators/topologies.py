"""Programs compiled for devices that are not here, by the compilers that come as packages.

A process that compiles so needs `environment(target)` from its start; nothing here changes the
environment of the process it is in.
"""

from pathlib import Path

import jax
from jax.experimental import topologies
from ml_collections import ConfigDict

from cnn_jax import data
from cnn_jax.accelerators import gpu_configs, shapes
from cnn_jax.accelerators.targets import Target
from cnn_jax.data.stream.streamed import StreamedDataset
from cnn_jax.errors import UserError, first_line

# What has the compiler for each platform.
PACKAGES = {
    "tpu": f"jax[tpu]=={jax.__version__}",
    "gpu": f"jax[cuda12]=={jax.__version__}",
}
# Google's names of slices; those of v4 and v5p count cores, two a chip.
SLICES = {"v4": ("v4", 2), "v5e": ("v5litepod", 1), "v5p": ("v5p", 2), "v6e": ("v6e", 1)}


class NoCompiler(UserError):
    """Nothing here compiles for a target: the package is missing, or counts other devices."""


def environment(target: Target) -> dict[str, str]:
    """What the environment of a process must have, from its start, to compile for a target."""
    if target.platform == "gpu":
        return {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    name, cores = SLICES[target.name]
    return {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",  # or it waits for the metadata of a virtual machine
        "TPU_ACCELERATOR_TYPE": f"{name}-{cores * target.devices}",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }


def devices(target: Target, target_config: Path | None = None) -> list[jax.Device]:
    """The devices of a target, to compile for.

    Args:
      target_config: a file with the text of a `GpuTargetConfigProto`, in place of the known one.

    Raises:
      NoCompiler: it is not installed, or has each core of a TPU v4 as a device.
      UserError: it knows no such devices.
    """
    if target.platform == "gpu":
        options = {
            "platform": "cuda",
            "target_config": gpu_configs.text(target.name, target_config),
            "topology": f"1x{target.shape[0]}x{target.shape[1]}",
        }
    else:
        shape = "x".join(map(str, target.shape))
        options = {"platform": "tpu", "topology_name": f"{target.name}:{shape}"}
        if target.devices == 1:
            options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        found = topologies.get_topology_desc(**options).devices
    except jax.errors.JaxRuntimeError as error:
        where = f" with {target_config}" if target_config else ""
        raise UserError(f"{target} cannot be compiled for{where}: {first_line(error)}") from None
    except (NotImplementedError, RuntimeError):
        package = PACKAGES[target.platform]
        raise NoCompiler(
            f"the compiler for {target.platform.upper()}s is missing: pip install '{package}'"
        ) from None
    if len(found) != target.devices:
        raise NoCompiler(f"the compiler has {len(found)} devices for the {target.devices} chips")
    return found


def compile_steps(
    config: ConfigDict,
    target: Target,
    dataset: data.Dataset | StreamedDataset | None = None,
    target_config: Path | None = None,
) -> jax.stages.Compiled:
    """The program of the loop of training, compiled for a target.

    Args:
      dataset: see `shapes.lower_steps`.
      target_config: see `devices`.

    Raises:
      UserError: see `devices`; or anything in the config that cannot be.
      jax.errors.JaxRuntimeError: the compiler's, such as too little memory on a TPU.
    """
    return shapes.lower_steps(config, devices(target, target_config), dataset).compile()
