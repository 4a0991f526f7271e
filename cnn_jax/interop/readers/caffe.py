"""The arrays of a `.caffemodel`, by the names of Caffe's layers; Caffe is not needed.

A batch norm is two layers there: "bn_conv1" has the statistics, times a factor that is its third
array, and "scale_conv1" the scale and the shift.
"""

from collections.abc import Iterator

import numpy as np

from cnn_jax.errors import UserError
from cnn_jax.interop.readers import protobuf

# Fields of NetParameter, LayerParameter, V1LayerParameter and BlobProto (caffe.proto).
NET_NAME, OLD_LAYER, LAYER = 1, 2, 100
NAME, KIND, BLOBS = 1, 2, 7
OLD_NAME, OLD_BLOBS = 4, 6
LEGACY_SHAPE, DATA, SHAPE, DOUBLES = (1, 2, 3, 4), 5, 7, 8
DIM = 1


def read(data: bytes) -> dict[str, np.ndarray]:
    """The arrays as "conv1.weight", "conv1.bias", "bn_conv1.running_mean"; kernels as Torch's."""
    view = memoryview(data)
    if protobuf.text(view, NET_NAME) == "CaffeNet":
        raise UserError(
            "it is CaffeNet, AlexNet with each pool before the normalization, which no network "
            "here is: take bvlc_alexnet.caffemodel"
        )
    found: dict[str, np.ndarray] = {}
    for name, kind, blobs in layers(view):
        found |= {f"{name}.{leaf}": array for leaf, array in arrays(kind, blobs)}
    if not found:
        raise ValueError("it has no layer with weights")
    return found


def layers(net: memoryview) -> Iterator[tuple[str, str, list[np.ndarray]]]:
    """The name, the type and the arrays of each layer that has any; older files lack the type."""
    for field in protobuf.fields(net):
        if field.kind != protobuf.BYTES or field.number not in (LAYER, OLD_LAYER):
            continue
        layer, is_old = field.value, field.number == OLD_LAYER
        blobs = [blob(one) for one in protobuf.messages(layer, OLD_BLOBS if is_old else BLOBS)]
        name = protobuf.text(layer, OLD_NAME if is_old else NAME)
        if blobs:
            yield name, "" if is_old else protobuf.text(layer, KIND), blobs


def arrays(kind: str, blobs: list[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a layer by what they are."""
    if kind == "BatchNorm":
        mean, var, factor = blobs
        factor = 1 / factor.item() if factor.item() else 0.0
        yield "running_mean", (mean * factor).reshape(-1)
        yield "running_var", (var * factor).reshape(-1)
        return
    weight, *bias = blobs
    if weight.ndim == 4 and weight.shape[:2] == (1, 1) and kind in ("", "InnerProduct"):
        weight = weight[0, 0]  # of a linear layer, in old files
    yield "weight", weight.reshape(-1) if kind == "Scale" else weight
    if bias:
        yield "bias", bias[0].reshape(-1)


def blob(message: memoryview) -> np.ndarray:
    """An array."""
    shapes = list(protobuf.messages(message, SHAPE))
    shape = protobuf.integers(shapes[0], DIM) if shapes else legacy_shape(message)
    flat = protobuf.numbers(message, DATA, "<f4")
    if not flat.size:
        flat = protobuf.numbers(message, DOUBLES, "<f8")
    return flat.reshape(shape)


def legacy_shape(message: memoryview) -> list[int]:
    """The four sizes that old files have, each a field of its own."""
    return [next(iter(protobuf.integers(message, number)), 1) for number in LEGACY_SHAPE]
