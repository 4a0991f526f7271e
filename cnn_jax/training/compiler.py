"""The one place for compiler options, and for the cache of compiled programs."""

import contextlib
import functools
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import jax

from cnn_jax.files import cache_folder

# Measured with `launch.py bench`; options that a jaxlib does not know are left out.
CPU_STEP = {
    # Keeps the barriers of models/layers.py: XLA:CPU deletes them early otherwise.
    "xla_disable_hlo_passes": "cse_barrier_expander",
    # Convolutions by Eigen on all cores; YNNPACK runs small ones on one.
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
}
CPU_ONCE = {"xla_backend_optimization_level": 0}  # for what runs once: compile fast


@functools.cache
def supported(backend: str, once: bool) -> dict:
    """The options above that this backend and jaxlib take."""
    if backend != "cpu":
        return {}

    def is_known(option, value):
        try:
            jax.jit(lambda x: x + 1, compiler_options={option: value}).lower(0.0).compile()
        except Exception:
            return False
        return True

    options = CPU_ONCE if once else CPU_STEP
    return {option: value for option, value in options.items() if is_known(option, value)}


def jit(function: Callable, *, once: bool = False, **arguments) -> Callable:
    """`jax.jit` with the options of this backend; `once`: for a program that runs one time."""
    return jax.jit(function, compiler_options=supported(jax.default_backend(), once), **arguments)


def enable_cache() -> None:
    """Keeps compiled programs in `$CNN_JAX_CACHE`, else `~/.cache/cnn_jax`, or where JAX says."""
    if jax.config.jax_compilation_cache_dir:
        return
    folder = cache_folder("compiled")
    drop_broken(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def drop_broken(folder: Path) -> None:
    """Removes entries that a kill cut short: JAX would warn of them, and never replace them.

    Each entry is read once: those older than the file "checked" were whole then.
    """
    stamp = folder / "checked"
    since = stamp.stat().st_mtime if stamp.exists() else 0.0
    now = time.time()
    for entry in folder.glob("*-cache"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if entry.stat().st_mtime >= since and is_cut_short(entry.read_bytes()):
                entry.unlink()
    with contextlib.suppress(OSError):  # no folder yet, or not ours to write
        stamp.touch()
        os.utime(stamp, (now, now))


def is_cut_short(content: bytes) -> bool:
    """Whether a zlib stream (which begins with 0x78) lacks its end; True of an empty file too."""
    if content and content[0] != 0x78:
        return False
    stream = zlib.decompressobj()
    try:
        stream.decompress(content)
    except zlib.error:
        return True
    return not stream.eof
