"""With how many digits an accelerator multiplies."""

from collections.abc import Callable

import jax

from cnn_jax import errors

MATMUL = ("default", "bfloat16", "tensorfloat32", "float32")


def create(*, matmul: str) -> Callable[[Callable], Callable]:
    """A decorator of functions that are traced.

    Args:
      matmul: of the products in float32 convolutions and linear layers. "default" is the device's
        fastest: TensorFloat-32 on NVIDIA's, bfloat16 on TPUs, float32 on CPUs. Parameters and
        sums stay in float32; the networks' own option `dtype` makes activations bfloat16.
    """
    if matmul not in MATMUL:
        raise errors.unknown("precision.matmul", matmul, MATMUL)

    def precise(function: Callable) -> Callable:
        def traced(*arguments):
            with jax.default_matmul_precision(matmul):
                return function(*arguments)

        return traced

    return precise
