"""One `.onnx` file: images in, logits out, with the preprocessing inside and any batch size.

The operators are those of the traced network. Images are uint8 [batch, height, width, channels] of
the view's size; the maps are [batch, channels, height, width] as ONNX has them. Our own arrays keep
their names, "params/conv1/kernel", kernels as [out, in, height, width].
"""

import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jax.export import symbolic_shape

from cnn_jax import files
from cnn_jax.data.preprocess import to_arrays
from cnn_jax.errors import UserError
from cnn_jax.interop.export import about
from cnn_jax.interop.export.exported import Exported
from cnn_jax.models import layers

try:
    import onnx
    from onnx import helper

    from cnn_jax.interop.export.onnx_graph import Constant, Graph, Value
    from cnn_jax.interop.export.onnx_operators import OPERATORS, batch_norm, evaluated
except ImportError:
    raise UserError("--to=onnx needs the onnx package: pip install onnx") from None

OPTIONS = ("raw",)
OPSET, IR_VERSION = 25, 12
CALLS = {"jit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr",
         "custom_vjp_call": "call_jaxpr"}  # fmt: skip


def write(network: Exported, out: Path, raw: bool = False) -> list[str]:
    """Writes the file, and what it says of images and classes as JSON beside it.

    Args:
      raw: the images are what the network takes, float32, and not of uint8.
    """
    facts = about.facts(network, raw)
    place = about.beside(out, facts)
    model = helper.make_model(
        graph(network, raw),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="cnn_jax",
    )
    texts = {key: json.dumps(value, sort_keys=True) for key, value in facts.items()}
    helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    files.write_bytes(out, content)
    return [f"{out}: {len(content):,} bytes, opset {OPSET}", about.write(facts, place)]


def graph(network: Exported, raw: bool) -> onnx.GraphProto:
    """The network as a graph of ONNX."""
    kind = np.float32 if raw else np.uint8
    (batch,) = symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *network.image_shape), kind)
    arrays = dict(network.variables)
    if not raw:
        arrays["preprocessing"] = to_arrays(network.preprocessing)
    flat = flax.traverse_util.flatten_dict(arrays, sep="/")

    def logits(flat, images):
        tree = flax.traverse_util.unflatten_dict(flat, sep="/")
        x = images if raw else network.preprocessing.replace(**tree.pop("preprocessing"))(images)
        with nn.intercept_methods(whole_batch_norms):
            return network.model.apply(tree, x, train=False)

    traced = jax.make_jaxpr(logits)(flat, images)
    tracer = Tracer()
    constants = [Constant(array, name) for name, array in sorted(flat.items())]
    shape = images.shape
    start = [*constants, Value("images", tuple(range(len(shape))), shape)]
    (result,) = tracer.run(traced.jaxpr, [Constant(np.asarray(c)) for c in traced.consts], start)
    found, last = tracer.graph, tracer.graph.ordered(result)
    found.take_biases()
    found.rename(last, "logits")
    return helper.make_graph(
        found.nodes,
        network.settings["name"],
        [tensor("images", kind, ["batch", *network.image_shape])],
        [tensor("logits", np.float32, ["batch", len(network.class_names)])],
        found.initializers(),
    )


def tensor(name: str, kind: Any, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape
    )


def whole_batch_norms(call, args, kwargs, context):
    """Leaves a batch norm one operator, with its own arrays."""
    norm = context.module
    if not isinstance(norm, layers.BatchNorm):
        return call(*args, **kwargs)
    bias, mean = norm.get_variable("params", "bias"), norm.get_variable("batch_stats", "mean")
    scale = norm.get_variable("params", "scale") if norm.use_scale else jnp.ones_like(bias)
    arrays = (scale, bias, mean, norm.get_variable("batch_stats", "var"))
    return batch_norm.bind(args[0], *arrays, epsilon=norm.epsilon)


class Tracer:
    """Goes through a traced network, and adds its operators to a graph."""

    def __init__(self):
        self.graph = Graph()

    def run(self, jaxpr, constants, operands, scope: str = "") -> list[Value | Constant]:
        """The results of a program whose inputs are given."""
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *operands], strict=True))

        def read(atom):
            is_literal = hasattr(atom, "val")
            return Constant(np.asarray(atom.val, atom.aval.dtype)) if is_literal else known[atom]

        for eqn in jaxpr.eqns:
            own = [part for part in str(eqn.source_info.name_stack).split("/") if "." not in part]
            found = self.results(eqn, [read(a) for a in eqn.invars], "/".join([scope, *own]))
            known |= zip(eqn.outvars, found, strict=True)
        return [read(atom) for atom in jaxpr.outvars]

    def results(self, eqn, operands: list, scope: str) -> list[Value | Constant]:
        """The results of one step."""
        name = eqn.primitive.name
        if name == "platform_index":
            return [Constant(np.int32(eqn.params["platforms"].index(None)))]
        if name == "cond" and isinstance(operands[0], Constant):
            branch = eqn.params["branches"][int(operands[0].array)]
            return self.run(branch.jaxpr, map(Constant, branch.consts), operands[1:], scope)
        if name in CALLS:
            inner = eqn.params[CALLS[name]]
            return self.run(inner.jaxpr, map(Constant, inner.consts), operands, scope)
        self.graph.scope = scope
        if all(isinstance(operand, Constant) for operand in operands) and not of_graph(
            eqn, operands
        ):
            found = evaluated(eqn, *(operand.array for operand in operands))
            arrays = found if eqn.primitive.multiple_results else [found]
            kept = operands[0].name if name == "reshape" else ""
            return [Constant(np.asarray(array), kept) for array in arrays]
        if name not in OPERATORS:
            raise UserError(f"ONNX: the network computes {name!r}, which is not written")
        return [OPERATORS[name](self.graph, eqn, *operands)]


def of_graph(eqn, operands: list[Constant]) -> bool:
    """Whether a step is left to the graph although its operands are known.

    Axes along which an array is repeated keep size 1, and our own kernels keep their shape.
    """
    if eqn.primitive.name == "reshape":
        return bool(operands[0].name) and operands[0].array.ndim > 1
    return eqn.primitive.name == "broadcast_in_dim"
