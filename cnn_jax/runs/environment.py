"""With what the numbers of a run are made: code, versions, devices and settings."""

import contextlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cnn_jax.errors import UserError

# Settings of JAX that numbers depend on, with those that are pinned; the rest is in the flags.
JAX_CONFIG = {
    "jax_default_matmul_precision": None,  # `precision.matmul` of the config says it
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_softmax_custom_jvp": True,
    "jax_disable_jit": False,  # each operation alone rounds otherwise
}
# The words of `precision.matmul`; JAX takes more, which are no precision of a recipe.
MATMUL = ("default", "bfloat16", "tensorfloat32", "float32")
FLAGS = (
    *("JAX_", "XLA_", "LIBTPU_", "NCCL_", "OMP_", "CUDA_VISIBLE", "GLIBC_TUNABLES"),
    *("TF_CPP_", "TF_XLA_", "TF_GPU_", "TF_CUDNN_", "TF_CUDA_", "TF_DETERMINISTIC_", "TF_ENABLE_"),
)
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy")


def environment() -> dict:
    """Commit, versions, devices and settings, with which the numbers are made."""
    import jax

    return {
        **source(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "devices_per_process": jax.local_device_count(),
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "flags": {name: value for name, value in sorted(os.environ.items()) if is_flag(name)},
        "jax_config": {name: jax.config.values[name] for name in JAX_CONFIG},
    }


@contextlib.contextmanager
def pinned_jax() -> Iterator[None]:
    """JAX's settings as in `JAX_CONFIG`, in this thread for as long as this lasts.

    The environment (JAX_ENABLE_X64=1) or a notebook sets them for a process, but the numbers of a
    run are a function of its config. Raises `UserError` for a setting that cannot be set back.
    """
    import jax

    if jax.config.jax_random_seed_offset:
        raise UserError("JAX_RANDOM_SEED_OFFSET makes another seed of each: unset it", 2)
    with contextlib.ExitStack() as settings:
        for name, value in JAX_CONFIG.items():
            settings.enter_context(getattr(jax, name.removeprefix("jax_"))(value))
        yield


def is_flag(name: str) -> bool:
    """Whether an environment variable sets JAX, XLA or the libraries below them.

    No variable with a secret does: of TF_ only what XLA reads counts, not another program's
    TF_TOKEN_ or TF_VAR_.
    """
    return name.startswith(FLAGS)


def source() -> dict:
    """The commit of the code that runs, and whether files differ from it.

    Installed code may lie in somebody else's repository: its commit is that of the git address it
    was installed from, None without one.
    """
    if git("ls-files", "--error-unmatch", Path(__file__).name) is not None:
        changed = bool(git("status", "--porcelain"))
        return {"commit": git("rev-parse", "HEAD"), "uncommitted_changes": changed}
    try:
        origin = metadata.distribution("cnn_jax").read_text("direct_url.json") or "{}"
    except metadata.PackageNotFoundError:
        origin = "{}"
    commit = json.loads(origin).get("vcs_info", {}).get("commit_id")
    return {"commit": commit, "uncommitted_changes": False}


def git(*arguments: str) -> str | None:
    """The output of git about the code that runs; None where that is in no repository."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
