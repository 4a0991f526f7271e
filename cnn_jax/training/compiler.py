"""How programs are compiled: options, precision, the cache, and guards against surprises."""

import contextlib
import functools
import os
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from jax.sharding import Mesh

from cnn_jax import errors
from cnn_jax.errors import UserError, first_line
from cnn_jax.files import cache_folder

# Measured with `launch.py bench`; options that a jaxlib does not know are left out.
CPU_STEP = {
    # Keeps the barriers of models/cpu/xla.py: XLA:CPU deletes them early otherwise.
    "xla_disable_hlo_passes": "cse_barrier_expander",
    # Convolutions by Eigen on all cores; YNNPACK runs small ones on one.
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
}
CPU_ONCE = {"xla_backend_optimization_level": 0}  # for what runs once: compile fast


MATMUL = ("default", "bfloat16", "tensorfloat32", "float32")


@functools.cache
def supported(platform: str, once: bool) -> dict:
    """The options above that devices of this platform ("cpu", "gpu", "tpu") and jaxlib take."""
    if platform != "cpu":
        return {}

    def is_known(option, value):
        try:
            with jax.default_device(jax.devices(platform)[0]):
                jax.jit(lambda x: x + 1, compiler_options={option: value}).lower(0.0).compile()
        except Exception:
            return False
        return True

    options = CPU_ONCE if once else CPU_STEP
    return {option: value for option, value in options.items() if is_known(option, value)}


def platform_of(mesh: Mesh) -> str:
    """Of the devices that run a program, which need not be the default ones of the process."""
    return mesh.devices.flat[0].platform


def jit(function: Callable, mesh: Mesh | None = None, *, once: bool = False, **arguments):
    """`jax.jit` with the options for the devices of the mesh, by default those that JAX uses.

    The mesh is also the context in which the function is traced, see `models.layers`.
    `once`: for a program that runs one time.
    """
    platform = platform_of(mesh) if mesh else jax.default_backend()
    context = mesh.abstract_mesh if mesh else jax.sharding.get_abstract_mesh()

    @functools.wraps(function)
    def traced(*args):
        with jax.sharding.use_abstract_mesh(context):
            return function(*args)

    return jax.jit(traced, compiler_options=supported(platform, once), **arguments)


def precision(*, matmul: str) -> Callable[[Callable], Callable]:
    """The group `precision`: a decorator of functions that are traced.

    Args:
      matmul: of the products in float32 convolutions and linear layers. "default" is the device's
        fastest: TensorFloat-32 on NVIDIA's, bfloat16 on TPUs, float32 on CPUs. Parameters and
        sums stay in float32; the networks' own option `dtype` makes activations bfloat16.
    """
    if matmul not in MATMUL:
        raise errors.unknown("precision.matmul", matmul, MATMUL)

    def with_precision(function: Callable) -> Callable:
        def traced(*arguments):
            with jax.default_matmul_precision(matmul):
                return function(*arguments)

        return traced

    return with_precision


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


COMPILED = "/jax/core/compile/backend_compile_duration"


class Guards:
    """A context around the loop; `dispatch` stands around the start of each program."""

    def __init__(self):
        self._compilations = 0
        self._sizes: set[int] = set()

    def __enter__(self) -> "Guards":
        jax.monitoring.register_event_duration_secs_listener(self._count)
        return self

    def __exit__(self, *_) -> None:
        jax.monitoring.unregister_event_duration_listener(self._count)

    def _count(self, event: str, _seconds: float, **_) -> None:
        self._compilations += event == COMPILED

    @contextlib.contextmanager
    def dispatch(self, first_step: int, count: int) -> Iterator[None]:
        """Refuses implicit transfers, and warns where a program of a known size is compiled again.

        Raises:
          UserError: an array is moved between host and device, or between devices, unasked.
        """
        before = self._compilations
        try:
            with jax.transfer_guard("disallow"):
                yield
        except Exception as error:
            if "Disallowed" not in str(error):
                raise
            raise UserError(
                f"an implicit transfer at step {first_step:,}: {first_line(error)}; "
                "the step must take arrays that jax.device_put put on the devices"
            ) from error
        if count in self._sizes and self._compilations > before:
            warnings.warn(
                f"compiled again at step {first_step:,}: the program of {count} steps was there "
                "already, so something about its arguments has changed",
                stacklevel=3,
            )
        self._sizes.add(count)
