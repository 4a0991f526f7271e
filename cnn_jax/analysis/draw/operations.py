"""What an equation of a traced program does, in the words of the papers' figures."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from cnn_jax.analysis.draw.graph import TIMES, size

# What changes one map and keeps its shape, by primitive.
ACTIVATIONS = {"max": "ReLU", "logistic": "sigmoid", "tanh": "tanh"}
LAYERS = {"BatchNorm": "batch norm", "Dropout": "dropout"}  # by the class of the module
POOLS = {"reduce_window_max": "max pool", "reduce_window_sum": "avg pool"}
GLOBAL_POOLS = {"reduce_max": "global max pool", "reduce_sum": "global avg pool"}
JOINS = {"add": "+", "add_any": "+", "sub": "-", "mul": TIMES, "concatenate": "concat"}


class Operation(NamedTuple):
    """`kind` and `text` of a node, and the last part of its name where it is no module's."""

    kind: str
    text: str
    name: str = ""


# Functions of `models.pooling` that are many equations, by their scope.
FUNCTIONS = {
    "local_response_norm": Operation("activation", "LRN"),
    "adaptive_avg_pool": Operation("pool", "adaptive avg pool"),
}


def layer(module: type | None, function: str) -> Operation:
    """What a layer is as long as none of its equations tells more."""
    if function:
        return FUNCTIONS[function]
    name = module.__name__
    return Operation("activation", LAYERS[name]) if name in LAYERS else Operation("layer", name)


def inner(equation: Any) -> Any:
    """The program inside of an equation, of a condition the longest one; None: it has none."""
    if branches := equation.params.get("branches"):
        return max((branch.jaxpr for branch in branches), key=lambda jaxpr: len(jaxpr.eqns))
    if equation.primitive.name.startswith("reduce"):  # what it reduces two numbers by
        return None
    program = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
    return getattr(program, "jaxpr", program)


def of(equation: Any, values: Sequence[Any]) -> Operation | None:
    """The node that an equation is; None where it only changes a map on its way.

    `values` are the maps that it takes. An equation that joins maps of one node, as x * f(x) does,
    is a function of that node and no join.
    """
    name, shape = equation.primitive.name, equation.outvars[0].aval.shape
    if len({value.node for value in values}) > 1:
        text = f"concat, {shape[-1]}" if name == "concatenate" else JOINS.get(name, name)
        return Operation("join", text, "concat" if name == "concatenate" else name)
    if name == "conv_general_dilated":
        return Operation("conv", convolution(equation), "conv")
    if name == "dot_general":
        return Operation("linear", f"fc {shape[-1]}", "fc")
    if name in POOLS:
        sizes, strides = (equation.params[k][1:3] for k in ("window_dimensions", "window_strides"))
        text = f"{POOLS[name]} {size(sizes)}{stride(strides)}"
        return Operation("pool", text, POOLS[name].replace(" ", "_"))
    taken = equation.invars[0].aval.shape
    if name in GLOBAL_POOLS and len(taken) == 4 and tuple(equation.params["axes"]) == (1, 2):
        return Operation("pool", GLOBAL_POOLS[name], GLOBAL_POOLS[name].replace(" ", "_"))
    if name in ACTIVATIONS and len(values) == 1 and taken == shape:
        return Operation("activation", ACTIVATIONS[name], ACTIVATIONS[name].lower())
    return None


def convolution(equation: Any) -> str:
    """A convolution as He et al. write it: "3x3 conv, 64, /2"."""
    kernel = [equation.invars[1].aval.shape[axis] for axis in dimensions(equation)]
    words = [f"{size(kernel[2:])} conv", str(kernel[0])]
    if strides := stride(equation.params["window_strides"]).strip(", "):
        words.append(strides)
    if (groups := equation.params["feature_group_count"]) > 1:
        words.append(f"{groups} groups")
    return ", ".join(words)


def dimensions(equation: Any) -> Sequence[int]:
    """The axes of a kernel: channels that come out, channels that go in, height, width."""
    return equation.params["dimension_numbers"].rhs_spec


def stride(strides: Sequence[int]) -> str:
    """ ", /2" for a stride of 2; nothing for 1."""
    if set(strides) == {1}:
        return ""
    return f", /{strides[0]}" if len(set(strides)) == 1 else f", /{size(strides)}"


def passed(equation: Any, values: Sequence[Any]) -> Any:
    """The map of one node after an equation that changes it on its way."""
    value = max(values, key=lambda value: len(value.notes))
    name = equation.primitive.name
    if name == "pad":
        return value._replace(notes=(*value.notes, "zeros"))
    if name == "slice" and (strides := stride((equation.params["strides"] or (1,))[1:3] or (1,))):
        return value._replace(notes=(*value.notes, strides.strip(", ")))
    return value
