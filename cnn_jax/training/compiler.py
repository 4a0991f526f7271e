"""The one place for compiler options, and for the cache of compiled programs."""

import functools
from collections.abc import Callable

import jax

from cnn_jax import caches

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
    jax.config.update("jax_compilation_cache_dir", str(caches.folder("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
