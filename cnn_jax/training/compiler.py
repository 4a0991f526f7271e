"""How programs are compiled: options, precision, and guards against surprises."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnn_jax import errors
from cnn_jax.errors import UserError, first_line
from cnn_jax.runs.environment import MATMUL

# Measured with `launch.py bench`; options that a jaxlib does not know are left out.
CPU_STEP = {
    # Keeps the barriers of models/cpu/xla.py: XLA:CPU deletes them early otherwise.
    "xla_disable_hlo_passes": "cse_barrier_expander",
    # Convolutions by Eigen on all cores; YNNPACK runs small ones on one.
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
}
# For what runs once: compile fast. Another level rounds initial values otherwise, and the runs that
# were recorded began with those of this one.
CPU_ONCE = {"xla_backend_optimization_level": 0}

# The words of `compiler.options`, for GPUs; docs/running.md says what each is for.
WORDS = {
    "latency_hiding": {"xla_gpu_enable_latency_hiding_scheduler": True},
    "large_collectives": {  # bytes
        "xla_gpu_all_reduce_combine_threshold_bytes": 2**28,
        "xla_gpu_all_gather_combine_threshold_bytes": 2**28,
        "xla_gpu_reduce_scatter_combine_threshold_bytes": 2**28,
    },
    "no_triton_gemm": {"xla_gpu_enable_triton_gemm": False},
    "no_command_buffers": {"xla_gpu_enable_command_buffer": ""},
    "whole_command_buffers": {
        "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,WHILE",
        "xla_gpu_graph_min_graph_size": 1,
    },
    "double_buffering": {"xla_gpu_enable_while_loop_double_buffering": True},
}
DETERMINISTIC = {  # on GPUs; the kernels for CPUs and TPUs are so anyway
    "xla_gpu_deterministic_ops": True,
    "xla_gpu_exclude_nondeterministic_ops": True,
}


@functools.cache
def supported(platform: str, once: bool) -> dict:
    """The options for CPUs that devices of this platform ("cpu", "gpu", "tpu") and jaxlib take."""
    if platform != "cpu":
        return {}

    def is_known(option, value):
        try:
            with jax.default_device(jax.devices(platform)[0]):
                jax.jit(lambda x: x, compiler_options={option: value}).lower(0.0).compile()
        except Exception:
            return False
        return True

    options = CPU_ONCE if once else CPU_STEP
    return {option: value for option, value in options.items() if is_known(option, value)}


def platform_of(mesh: Mesh) -> str:
    """Of the devices that run a program, which need not be the default ones of the process."""
    return mesh.devices.flat[0].platform


def with_mesh(function: Callable, mesh: Mesh) -> Callable:
    """The function, traced with the mesh as JAX's context: layers find their devices in it."""

    @functools.wraps(function)
    def traced(*arguments):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*arguments)

    return traced


@dataclass(frozen=True)
class Jit:
    """`jax.jit` with the groups `compiler` and `precision` of a config."""

    words: tuple[str, ...] = ()  # of `compiler.options`
    deterministic: bool = False
    with_precision: Callable[[Callable], Callable] = lambda function: function

    def __call__(self, function: Callable, mesh: Mesh | None = None, *, once=False, **arguments):
        """For the devices of the mesh, by default JAX's; `once`: for what runs one time."""
        traced = self.with_precision(function)
        traced = with_mesh(traced, mesh) if mesh else traced
        return jax.jit(traced, compiler_options=self.options(mesh, once), **arguments)

    def options(self, mesh: Mesh | None, once: bool = False) -> dict[str, Any]:
        """Those of XLA; raises `UserError` for one that it does not take on these devices."""
        platform, own = platform_of(mesh) if mesh else jax.default_backend(), {}
        for word in self.words:
            option, is_one_of_xla, value = word.partition("=")
            if is_one_of_xla:
                own[option] = {"true": True, "false": False}.get(value.lower(), value)
            elif platform == "gpu":
                own |= WORDS[word]
        if self.deterministic and platform == "gpu":
            own |= DETERMINISTIC
        if own:
            check_options(tuple(own.items()), mesh)
        return supported(platform, once) | own


jit = Jit()  # for what no config describes


@functools.cache
def check_options(options: tuple[tuple[str, Any], ...], mesh: Mesh) -> None:
    """Compiles nothing with them; raises `UserError` for one that is not taken."""
    number = jax.ShapeDtypeStruct((), "float32", sharding=NamedSharding(mesh, PartitionSpec()))
    try:
        jax.jit(lambda x: x, compiler_options=dict(options)).lower(number).compile()
    except jax.errors.JaxRuntimeError as error:
        reason = first_line(error).partition(": ")[2]  # after INVALID_ARGUMENT
        raise UserError(f"compiler.options: XLA for {platform_of(mesh)} says: {reason}") from None


def create(
    *, options: str, deterministic: bool, with_precision: Callable[[Callable], Callable]
) -> Jit:
    """The group `compiler`.

    Args:
      options: words of `WORDS` and options of XLA such as `xla_gpu_autotune_level=0`, with commas
        between.
      deterministic: kernels that give the same bits each time, where the platform has others.
      with_precision: what `precision` gives.
    """
    words = tuple(filter(None, options.split(",")))
    for word in words:
        if word not in WORDS and not (word.startswith("xla_") and "=" in word):
            raise errors.unknown("compiler.options", word, [*WORDS, "xla_OPTION=VALUE"])
    return Jit(words, deterministic, with_precision)


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
        @functools.wraps(function)  # a trace names the program by it
        def traced(*arguments):
            with jax.default_matmul_precision(matmul):
                return function(*arguments)

        return traced

    return with_precision


COMPILED = "/jax/core/compile/backend_compile_duration"


class Guards:
    """A context around the loop; `dispatch` stands around the start of each program."""

    def __init__(self):
        self._compilations = 0
        self._sizes: set[tuple[int, int]] = set()

    def __enter__(self) -> "Guards":
        jax.monitoring.register_event_duration_secs_listener(self._count)
        return self

    def __exit__(self, *_) -> None:
        jax.monitoring.unregister_event_duration_listener(self._count)

    def _count(self, event: str, _seconds: float, **_) -> None:
        self._compilations += event == COMPILED

    @contextlib.contextmanager
    def dispatch(self, first_step: int, count: int, phase: int) -> Iterator[None]:
        """Refuses implicit transfers, and warns where a program of a known size is compiled again.

        `phase`: of the training, which has programs of its own.

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
        if (count, phase) in self._sizes and self._compilations > before:
            warnings.warn(
                f"compiled again at step {first_step:,}: the program of {count} steps was there "
                "already, so something about its arguments has changed",
                stacklevel=3,
            )
        self._sizes.add((count, phase))
