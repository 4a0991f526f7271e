"""How many runs train at a time, and which accelerator each of them gets."""

import os
import shutil
import subprocess
from collections.abc import Mapping

from cnn_jax.errors import UserError

MEMORY = 0.9  # of a GPU, for all runs on it


def places(parallel: int | None) -> list[dict[str, str]]:
    """The environment variables of each run that may train at the same time.

    By default one run for each GPU, or one in all. This process itself touches no accelerator: it
    would take the memory that the runs need.

    Args:
      parallel: how many runs, instead of the default.

    Raises:
      UserError: more than one run at a time on a TPU, which serves one process.
    """
    gpus = visible_gpus(os.environ)
    count = parallel or max(1, len(gpus))
    if count == 1:
        return [{}]
    if not gpus:
        if os.path.exists("/dev/accel0") or os.path.exists("/dev/vfio/0"):
            raise UserError("a TPU serves one process at a time: leave out --parallel", 2)
        return [{}] * count
    runs_per_gpu = -(-count // len(gpus))
    memory = {}
    if runs_per_gpu > 1:
        memory["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{MEMORY / runs_per_gpu:.3f}"
    return [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)], **memory} for i in range(count)]


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The names by which CUDA knows the GPUs that JAX would use."""
    platforms = environment.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return []
    if "CUDA_VISIBLE_DEVICES" in environment:
        return [name for name in environment["CUDA_VISIBLE_DEVICES"].split(",") if name]
    if not shutil.which("nvidia-smi"):
        return []
    done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index in range(len(lines))]
