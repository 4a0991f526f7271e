"""The operators of JAX in those of ONNX: what each primitive of a traced network becomes."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.export import is_symbolic_dim
from jax.extend.core import Primitive

from cnn_jax.errors import UserError
from cnn_jax.interop.export.onnx_graph import Constant, Graph, Value, sizes

Operand = Value | Constant

# Batch norm with its running statistics: (x, scale, bias, mean, variance), all but x [channels].
batch_norm = Primitive("batch_norm")
batch_norm.def_abstract_eval(lambda x, *_, epsilon: x)


def elementwise(operator: str) -> Callable:
    """An operator on numbers, which repeats arrays along axes of size 1 as JAX does."""

    def convert(graph: Graph, eqn, *operands: Operand) -> Value:
        rank = eqn.outvars[0].aval.ndim
        order = next(x.order for x in operands if isinstance(x, Value) and len(x.order) == rank)
        names = [graph.laid(x, order) for x in operands]
        return Value(graph.add(operator, *names), order, eqn.outvars[0].aval.shape)

    return convert


def multiply(graph: Graph, eqn, x: Operand, y: Operand) -> Value:
    """A product, but for a factor of 1."""
    if isinstance(x, Constant):
        x, y = y, x
    return scale(graph, eqn, "Mul", x, y, lambda factor: factor)


def divide(graph: Graph, eqn, x: Operand, y: Operand) -> Value:
    return scale(graph, eqn, "Div", x, y, lambda factor: 1 / factor)


def scale(
    graph: Graph, eqn, operator: str, x: Operand, y: Operand, inverse: Callable[[float], float]
) -> Value:
    """A product or a quotient, in which a constant takes the factor of the value before it."""
    if isinstance(x, Value) and isinstance(y, Constant):
        if x.factor != 1:
            x, y = x._replace(factor=1.0), Constant(np.float32(y.array * inverse(x.factor)))
        if y.array.size == 1 and y.array.item() == 1:
            return x
    return elementwise(operator)(graph, eqn, x, y)


def maximum(graph: Graph, eqn, x: Operand, y: Operand) -> Value:
    """`Relu` where one operand is zero."""
    if isinstance(x, Value) and isinstance(y, Constant) and not y.array.any():
        return elementwise("Relu")(graph, eqn, x)
    return elementwise("Max")(graph, eqn, x, y)


def power(graph: Graph, eqn, x: Value, exponent: Constant | None = None) -> Value:
    """A power; squares as products."""
    if eqn.primitive.name == "square" or eqn.params.get("y") == 2:
        return elementwise("Mul")(graph, eqn, x, x)
    return elementwise("Pow")(graph, eqn, x, exponent or Constant(np.float32(eqn.params["y"])))


def rsqrt(graph: Graph, eqn, x: Value) -> Value:
    root = elementwise("Sqrt")(graph, eqn, x)
    return elementwise("Reciprocal")(graph, eqn, root)


def cast(graph: Graph, eqn, x: Value) -> Value:
    """Only images are of another type than float32."""
    to = jax.numpy.dtype(eqn.params["new_dtype"])
    if to == eqn.invars[0].aval.dtype:
        return x
    if to != np.float32:
        raise UserError(f"ONNX: the network computes in {to}; only float32 is written")
    return x._replace(name=graph.add("Cast", x.name, to=1))


def convolution(graph: Graph, eqn, x: Value, kernel: Operand) -> Value:
    params = eqn.params
    numbers = params["dimension_numbers"]
    if params["batch_group_count"] != 1 or any(d != 1 for d in params["lhs_dilation"]):
        raise UserError("ONNX: the network has a transposed convolution, which is not written")
    name = graph.add(
        "Conv",
        graph.laid(x, numbers.lhs_spec),
        graph.laid(kernel, numbers.rhs_spec),
        strides=params["window_strides"],
        pads=ends(params["padding"]),
        dilations=params["rhs_dilation"],
        group=params["feature_group_count"],
    )
    return Value(name, numbers.out_spec, eqn.outvars[0].aval.shape)


def normalization(graph: Graph, eqn, x: Value, *arrays: Constant) -> Value:
    order = channels_first(len(x.order))
    channels = (x.shape[-1],)  # of a scale that is left out there is one value
    arrays = [a._replace(array=np.broadcast_to(a.array, channels)) for a in arrays]
    names = [graph.laid(x, order), *map(graph.ordered, arrays)]
    name = graph.add("BatchNormalization", *names, epsilon=eqn.params["epsilon"])
    return Value(name, order, x.shape)


def pool(operator: str, **attributes: Any) -> Callable:
    """A window that slides over the map; a sum becomes a mean with a factor."""

    def convert(graph: Graph, eqn, x: Value, *_: Constant) -> Value:
        params, order = eqn.params, channels_first(len(x.order))
        window, strides, padding, base, dilation = (
            [params[name][axis] for axis in order]
            for name in ("window_dimensions", "window_strides", "padding", "base_dilation",
                         "window_dilation")
        )  # fmt: skip
        if window[:2] != [1, 1] or {*base, *dilation} != {1}:
            raise UserError("ONNX: the network pools over images or channels: not written")
        how = {"kernel_shape": window[2:], "strides": strides[2:], "pads": ends(padding[2:])}
        name = graph.add(operator, graph.laid(x, order), **how, **attributes)
        factor = 1.0 if operator == "MaxPool" else float(math.prod(window))
        return Value(name, order, eqn.outvars[0].aval.shape, factor)

    return convert


def reduce_sum(graph: Graph, eqn, x: Value) -> Value:
    """A mean with a factor, which the division behind it mostly cancels."""
    axes = eqn.params["axes"]
    places = graph.integers([x.order.index(axis) for axis in sorted(axes)])
    name = graph.add("ReduceMean", graph.plain(x), places, keepdims=0)
    left = sorted(set(x.order) - set(axes))
    order = tuple(left.index(axis) for axis in x.order if axis in left)
    count = math.prod(x.shape[axis] for axis in axes)
    return Value(name, order, eqn.outvars[0].aval.shape, float(count))


def product(graph: Graph, eqn, x: Operand, y: Operand) -> Value:
    """`MatMul` of rows with a matrix, and `Einsum` of all else."""
    (left, right), (left_batch, right_batch) = eqn.params["dimension_numbers"]
    shape = eqn.outvars[0].aval.shape
    order = tuple(range(len(shape)))
    is_matrix = isinstance(y, Constant) and y.array.ndim == 2 and isinstance(x, Value)
    if is_matrix and right == (0,) and left == (len(x.order) - 1,):
        return Value(graph.add("MatMul", graph.ordered(x), graph.ordered(y)), order, shape)
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    ranks = [operand.aval.ndim for operand in eqn.invars]
    axes = [[next(letters) for _ in range(rank)] for rank in ranks]
    for i, j in [*zip(left, right, strict=True), *zip(left_batch, right_batch, strict=True)]:
        axes[1][j] = axes[0][i]
    gone = {axes[0][i] for i in left}
    batch = [axes[0][i] for i in left_batch]
    free = [a for own in axes for a in own if a not in gone and a not in batch]
    equation = f"{','.join(''.join(own) for own in axes)}->{''.join(batch + free)}"
    name = graph.add("Einsum", graph.ordered(x), graph.ordered(y), equation=equation)
    return Value(name, order, shape)


def reshape(graph: Graph, eqn, x: Operand) -> Value:
    shape = eqn.outvars[0].aval.shape
    name = graph.add("Reshape", graph.ordered(x), graph.integers(sizes(shape)))
    return Value(name, tuple(range(len(shape))), shape)


def broadcast(graph: Graph, eqn, x: Operand) -> Operand:
    """New axes of size 1; those that repeat the values are left to the operators behind."""
    shape, places = eqn.outvars[0].aval.shape, eqn.params["broadcast_dimensions"]
    if isinstance(x, Constant):
        with_ones = np.ones(len(shape), int)
        with_ones[list(places)] = x.array.shape
        return x._replace(array=x.array.reshape(with_ones))
    if math.prod(shape) != math.prod(x.shape):
        raise UserError("ONNX: the network repeats a value, which is not written")
    return reshape(graph, eqn, x)


def transpose(graph: Graph, eqn, x: Value) -> Value:
    """No operator: the axes have other names."""
    del graph
    permutation = eqn.params["permutation"]
    order = tuple(permutation.index(axis) for axis in x.order)
    return x._replace(order=order, shape=eqn.outvars[0].aval.shape)


def concatenate(graph: Graph, eqn, *operands: Value) -> Value:
    order = operands[0].order
    names = [graph.laid(x, order) for x in operands]
    name = graph.add("Concat", *names, axis=order.index(eqn.params["dimension"]))
    return Value(name, order, eqn.outvars[0].aval.shape)


def pad(graph: Graph, eqn, x: Value, number: Constant) -> Value:
    config = [eqn.params["padding_config"][axis] for axis in x.order]
    if any(interior for _, _, interior in config):
        raise UserError("ONNX: the network puts zeros between pixels, which is not written")
    pads = graph.integers(ends([pair[:2] for pair in config]))
    value = graph.constant(np.float32(number.array))
    return Value(graph.add("Pad", graph.plain(x), pads, value), x.order, eqn.outvars[0].aval.shape)


def select(graph: Graph, eqn, x: Value, *indices: Constant) -> Value:
    """Rows, columns or channels of an array by known indices: slices and orders of channels."""
    fixed = [1 if is_symbolic_dim(size) else size for size in x.shape]
    flat = np.arange(math.prod(fixed), dtype=np.int32).reshape(fixed)
    chosen = np.unravel_index(np.asarray(evaluated(eqn, flat, *(i.array for i in indices))), fixed)
    if chosen[0].ndim != len(fixed) or not chosen[0].size:
        raise UserError(f"ONNX: the network has a {eqn.primitive.name} that is not written")
    for axis, places in enumerate(chosen):
        own = np.moveaxis(places, axis, 0).reshape(len(np.moveaxis(places, axis, 0)), -1)
        if (own != own[:, :1]).any():
            raise UserError(f"ONNX: the network has a {eqn.primitive.name} that is not written")
        if not np.array_equal(own[:, 0], np.arange(fixed[axis])):
            x = taken(graph, x, axis, own[:, 0])
    return x._replace(shape=eqn.outvars[0].aval.shape)


def taken(graph: Graph, x: Value, axis: int, places: np.ndarray) -> Value:
    """The places along one axis, by `Slice` where they have one distance."""
    own, steps = x.order.index(axis), np.diff(places)
    shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
    if len(set(steps)) > 1 or (steps < 1).any():
        name = graph.add("Gather", x.name, graph.integers(places), axis=own)
    else:
        step = int(steps[0]) if len(steps) else 1
        how = ([places[0]], [places[-1] + 1], [own], [step])
        name = graph.add("Slice", x.name, *map(graph.integers, how))
    return x._replace(name=name, shape=shape)


def evaluated(eqn, *arrays: np.ndarray) -> Any:
    """The result of a primitive on arrays, for a batch of 1."""
    operands = []
    for variable, array in zip(eqn.invars, arrays, strict=True):
        shape = [1 if is_symbolic_dim(size) else size for size in variable.aval.shape]
        operands.append(np.broadcast_to(array, shape))
    return eqn.primitive.bind(*operands, **{k: of_one(v) for k, v in eqn.params.items()})


def of_one(parameter: Any) -> Any:
    """A parameter of a primitive with a batch of 1."""
    if type(parameter) is not tuple:
        return parameter
    return tuple(1 if is_symbolic_dim(size) else size for size in parameter)


def channels_first(rank: int) -> tuple[int, ...]:
    """Of images [B, H, W, C] the order [B, C, H, W]."""
    return (0, rank - 1, *range(1, rank - 1))


def ends(padding) -> list[int]:
    """The padding of axes, all beginnings before all ends."""
    return [int(low) for low, _ in padding] + [int(high) for _, high in padding]


OPERATORS: dict[str, Callable] = {
    **{"add": elementwise("Add"), "sub": elementwise("Sub"), "neg": elementwise("Neg")},
    **{"mul": multiply, "div": divide},
    **{"max": maximum, "min": elementwise("Min"), "logistic": elementwise("Sigmoid")},
    **{"exp": elementwise("Exp"), "log": elementwise("Log"), "tanh": elementwise("Tanh")},
    **{"sqrt": elementwise("Sqrt"), "abs": elementwise("Abs"), "rsqrt": rsqrt},
    **dict.fromkeys(("pow", "integer_pow", "square"), power),
    **{"convert_element_type": cast, "conv_general_dilated": convolution},
    **{"batch_norm": normalization, "dot_general": product, "reduce_sum": reduce_sum},
    "reduce_window_max": pool("MaxPool"),
    "reduce_window_sum": pool("AveragePool", count_include_pad=1),
    **{"broadcast_in_dim": broadcast, "transpose": transpose, "concatenate": concatenate},
    **dict.fromkeys(("reshape", "squeeze", "expand_dims"), reshape),
    **dict.fromkeys(("gather", "slice", "rev"), select),
    "pad": pad,
}
