"""A graph of ONNX while it grows: operators, constants, and where the axes of values lie."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

Order = tuple[int, ...]


class Value(NamedTuple):
    """What operators compute: `factor` times a tensor of the graph."""

    name: str
    order: Order  # axis i of the tensor is axis order[i] of the array in JAX
    shape: tuple[Any, ...]  # of the array in JAX; the batch is symbolic
    factor: float = 1.0  # of a sum that the graph has as a mean


class Constant(NamedTuple):
    """An array that is known; axes along which it is repeated have size 1."""

    array: np.ndarray
    name: str = ""  # of our own arrays, as "params/conv1/kernel"


class Graph:
    """Operators and initializers, in the order in which they are needed."""

    def __init__(self):
        self.nodes: list[NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.scope = ""  # the layer whose operators come next
        self._numbers: Counter[str] = Counter()

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds an operator; returns the name of its output, which is that of the operator."""
        name = self._unused("/".join([*filter(None, self.scope.split("/")), operator]))
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, array: np.ndarray, name: str = "") -> str:
        """The name of an initializer; equal arrays are stored once."""
        array = np.ascontiguousarray(array)
        if not name:
            for known, other in self.arrays.items():
                if known.startswith("constant") and are_equal(array, other):
                    return known
            name = "constant"
        elif name in self.arrays and are_equal(array, self.arrays[name]):
            return name
        name = self._unused(name)
        self.arrays[name] = array
        return name

    def integers(self, values) -> str:
        """The name of an initializer of int64, as shapes and axes are."""
        return self.constant(np.array(values, np.int64))

    def initializers(self) -> list[TensorProto]:
        """The arrays that operators read."""
        read = {name for node in self.nodes for name in node.input}
        return [numpy_helper.from_array(a, n) for n, a in self.arrays.items() if n in read]

    def laid(self, value: Value | Constant, order: Order) -> str:
        """The tensor with its axes in an order, transposed where they have another."""
        if isinstance(value, Constant):
            array = value.array
            return self.constant(array.transpose(order) if array.ndim else array, value.name)
        name = self.plain(value)
        if value.order == order:
            return name
        lies = [axis for axis in value.order if value.shape[axis] != 1]
        if lies == [axis for axis in order if value.shape[axis] != 1]:  # only their places change
            return self.add("Reshape", name, self.integers(sizes(value.shape, order)))
        return self.add("Transpose", name, perm=[value.order.index(axis) for axis in order])

    def plain(self, value: Value) -> str:
        """The tensor of a value with its factor multiplied in."""
        if value.factor == 1:
            return value.name
        return self.add("Mul", value.name, self.constant(np.float32(value.factor)))

    def ordered(self, value: Value | Constant) -> str:
        """The tensor with its axes as in JAX."""
        rank = value.array.ndim if isinstance(value, Constant) else len(value.order)
        return self.laid(value, tuple(range(rank)))

    def take_biases(self) -> None:
        """Makes additions behind convolutions and products of matrices their biases."""
        uses = Counter(name for node in self.nodes for name in node.input)
        made = {node.output[0]: node for node in self.nodes}
        kept = []
        for node in self.nodes:
            layer = made.get(node.input[0])
            if node.op_type != "Add" or layer is None or not self._is_bias(layer, node, uses):
                kept.append(node)
                continue
            self.arrays[node.input[1]] = self.arrays[node.input[1]].reshape(-1)
            layer.input.append(node.input[1])
            layer.output[0] = node.output[0]
            made[node.output[0]] = layer
            if layer.op_type == "MatMul":
                layer.op_type = "Gemm"
        self.nodes = kept

    def rename(self, name: str, new: str) -> None:
        """Calls what an operator computes otherwise."""
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new if one == name else one for one in names]

    def _is_bias(self, layer: NodeProto, addition: NodeProto, uses: Counter[str]) -> bool:
        bias = self.arrays.get(addition.input[1])
        kernel = self.arrays.get(layer.input[1]) if len(layer.input) == 2 else None
        once = uses[addition.input[0]] == uses[addition.input[1]] == 1
        if not once or bias is None or kernel is None:
            return False
        if layer.op_type == "Conv":
            return bias.shape == (1, len(kernel), *[1] * (kernel.ndim - 2))
        return layer.op_type == "MatMul" and kernel.ndim == 2 and bias.shape == (1, kernel.shape[1])

    def _unused(self, name: str) -> str:
        self._numbers[name] += 1
        number = self._numbers[name]
        return name if number == 1 else f"{name}_{number}"


def are_equal(array: np.ndarray, other: np.ndarray) -> bool:
    is_alike = (array.dtype, array.shape) == (other.dtype, other.shape)
    return is_alike and np.array_equal(array, other)


def sizes(shape: tuple[Any, ...], order: Order | None = None) -> list[int]:
    """A shape for `Reshape`, in which the batch, which may have any size, is -1."""
    chosen = shape if order is None else [shape[axis] for axis in order]
    return [size if isinstance(size, int | np.integer) else -1 for size in chosen]
