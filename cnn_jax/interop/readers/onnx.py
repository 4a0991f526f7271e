"""The arrays of an ONNX file, by the names that its layers had in PyTorch or in Caffe2.

PyTorch's exporters make batch norms a part of the convolutions before them, and name what results
"onnx::Conv_497"; the operator's own name, "/layer1/layer1.0/conv1/Conv", then tells the layer.
Files of `launch.py export` have our own names.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn_jax.errors import UserError
from cnn_jax.interop.readers import protobuf

# Fields of ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto (onnx.proto).
GRAPH, PROPERTY = 7, 14
NODE, INITIALIZER = 1, 5
INPUT, OUTPUT, NODE_NAME, OPERATOR, ATTRIBUTE = 1, 2, 3, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INTEGER, ATTRIBUTE_TENSOR = 1, 3, 5
DIMS, KIND, FLOATS, INT32S, INT64S, NAME, RAW, DOUBLES, EXTERNAL = 1, 2, 4, 5, 7, 8, 9, 10, 13
DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}
# Of the inputs after the first.
ARRAYS = {
    "Conv": ("weight", "bias"),
    "Gemm": ("weight", "bias"),
    "MatMul": ("weight",),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}
OURS = b"\x12\x07cnn_jax"  # field 2 of ModelProto, the producer's name, behind a field of two bytes


class Node(NamedTuple):
    """An operator of the graph."""

    name: str
    operator: str
    inputs: list[str]
    integers: dict[str, int]  # attributes


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the layers, in the file or in files beside it."""
    graph, stored = initializers(path)
    if is_exported(path):
        ours = {
            name: a for name, a in stored.items() if name.startswith(("params/", "batch_stats/"))
        }
        return {name: as_ours(name, array) for name, array in ours.items()}
    found: dict[str, np.ndarray] = {}
    for node in map(parsed, protobuf.messages(graph, NODE)):
        kinds = dict(zip(node.inputs[1:], ARRAYS.get(node.operator, ()), strict=False))
        layer = next((layer_of(name, node) for name in kinds if name in stored), "")
        for name, kind in kinds.items():
            if name in stored:
                found[f"{layer}.{kind}"] = oriented(stored[name], kind, node)
    if not found:
        raise UserError("its graph has no weights")
    return found


def initializers(path: Path) -> tuple[memoryview, dict[str, np.ndarray]]:
    """The graph of a file, and its arrays by their names in it."""
    graphs = list(protobuf.messages(memoryview(path.read_bytes()), GRAPH))
    if not graphs:
        raise ValueError("it has no graph")
    return graphs[0], dict(
        tensor(one, path.parent) for one in protobuf.messages(graphs[0], INITIALIZER)
    )


def is_exported(path: Path) -> bool:
    """Whether `launch.py export` wrote a file."""
    with path.open("rb") as content:
        return content.read(2 + len(OURS))[2:] == OURS


def about(path: Path) -> dict[str, Any]:
    """What a file of `launch.py export` says of its network, its images and classes."""
    properties = protobuf.messages(memoryview(path.read_bytes()), PROPERTY)
    return {protobuf.text(one, 1): json.loads(protobuf.text(one, 2)) for one in properties}


def as_ours(name: str, array: np.ndarray) -> np.ndarray:
    """An array with its axes in our order; biases may have axes of size 1 there."""
    if not name.endswith("/kernel"):
        return array.reshape(-1)
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def parsed(message: memoryview) -> Node:
    """An operator."""
    inputs = [bytes(value).decode() for value in protobuf.messages(message, INPUT)]
    attributes = {}
    for attribute in protobuf.messages(message, ATTRIBUTE):
        value = protobuf.integers(attribute, ATTRIBUTE_INTEGER)
        attributes[protobuf.text(attribute, ATTRIBUTE_NAME)] = value[0] if value else 0
    name, operator = (protobuf.text(message, number) for number in (NODE_NAME, OPERATOR))
    return Node(name, operator, inputs, attributes)


def tensor(message: memoryview, folder: Path) -> tuple[str, np.ndarray]:
    """The name and the array of an initializer."""
    name = protobuf.text(message, NAME)
    (kind,) = protobuf.integers(message, KIND)
    shape = protobuf.integers(message, DIMS)
    raw = list(protobuf.messages(message, RAW))
    if place := {protobuf.text(one, 1): protobuf.text(one, 2) for one in external(message)}:
        raw = [beside(folder, place)]
    if kind not in DTYPES:
        return name, np.empty(0)  # texts and the like, which no layer has
    if raw:
        flat = np.frombuffer(bytes(raw[0]), DTYPES[kind])
    elif kind in (1, 11):
        flat = protobuf.numbers(message, FLOATS if kind == 1 else DOUBLES, DTYPES[kind])
    else:
        flat = np.array(protobuf.integers(message, INT32S, INT64S), np.uint64).astype(DTYPES[kind])
    return name, flat.reshape(shape)


def external(message: memoryview) -> list[memoryview]:
    """Where the numbers of an initializer are, as pairs of texts; none of one that has them."""
    return list(protobuf.messages(message, EXTERNAL))


def beside(folder: Path, place: dict[str, str]) -> bytes:
    """The bytes of an array in a file beside the model."""
    file = folder / place["location"]
    if file.parent != folder:
        raise ValueError(f"{place['location']!r} is no file beside it")
    if not file.is_file():
        raise UserError(f"its weights are in {file.name}, which is not beside it")
    start, count = int(place.get("offset", 0)), place.get("length")
    with file.open("rb") as content:
        content.seek(start)
        return content.read(int(count) if count else -1)


def layer_of(name: str, node: Node) -> str:
    """The layer of an operator, by the name of its first array, or else by its own."""
    if found := re.fullmatch(r"(?:gpu_0/)?(.+)_(w|s)_0", name):  # Caffe2's
        return found[1]
    if "::" not in name and (found := re.fullmatch(r"(.+)[.]weight", name)):
        return found[1]
    layer, last = "", ""
    for part in node.name.split("/")[1:-1]:
        again = part.startswith(f"{last}.")  # "layer1.0" says again that it is in "layer1"
        layer += part.removeprefix(last) if again else f".{part}"
        last = part
    return layer.removeprefix(".") or node.name


def oriented(array: np.ndarray, kind: str, node: Node) -> np.ndarray:
    """A linear layer's weights as [out, in]."""
    if kind == "weight" and node.operator in ("Gemm", "MatMul") and not node.integers.get("transB"):
        return array.T
    return array
