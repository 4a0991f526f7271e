"""A network's graph, read off the program that JAX traces of it.

Each equation of the program either belongs to a layer (a module with parameters of its own, or a
dropout), or pools, or joins maps of different nodes, or changes one map on its way. Nothing is
known of the families: a network of another project is read in the same way.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax.analysis.draw import operations
from cnn_jax.analysis.draw.graph import IMAGE, Graph, Node, Shape, reaching, size
from cnn_jax.models.cpu.xla import tracing_only_shapes
from cnn_jax.models.residual_units import Stage

Path = tuple[str, ...]


class Value(NamedTuple):
    """A map of the program: where it comes from, and what has changed it since."""

    node: str
    notes: tuple[str, ...] = ()


class Place(NamedTuple):
    """Where an equation stands."""

    path: Path  # of the innermost module
    names: Path  # the same, of a step of a scanned stage with the block's own name
    function: str  # of `operations.FUNCTIONS`, where one runs


def trace(model: nn.Module, image_shape: Shape) -> Graph:
    """The graph of a network in training, with its auxiliary heads, for an image [H, W, C].

    Raises:
      UserError: images of a size that the network cannot take.
    """
    modules: dict[Path, type] = {}

    def note(call, arguments, keywords, context):
        modules[context.module.path] = type(context.module)
        return call(*arguments, **keywords)

    key = jax.random.key(0)
    rngs = {"params": key, "dropout": key}
    batch = getattr(model, "bn_group_size", None) or 1  # batch norm takes whole groups alone
    image = jax.ShapeDtypeStruct((batch, *image_shape), jnp.float32)
    with tracing_only_shapes(), nn.intercept_methods(note):
        program, outputs = jax.make_jaxpr(
            lambda image: model.init_with_output(rngs, image, train=True), return_shape=True
        )(image)
    reader = Reader(modules, layer_paths(modules, outputs[1].get("params", {})))
    reader.add(Node(IMAGE, "input", f"image {size(image_shape)}", image_shape))
    values = reader.run(program.jaxpr, [Value(IMAGE)], ())
    named, _ = jax.tree_util.tree_flatten_with_path(outputs)
    for value, (path, shape) in zip(values, named, strict=True):
        if value is not None:
            reader.output(value, path, shape.shape[1:])
    return reaching(reader.graph, reader.graph.of_kind("output"))


def layer_paths(modules: dict[Path, type], params: Any) -> set[Path]:
    """The paths of layers: modules that have parameters and no modules inside, and dropouts."""
    parents = {path[:count] for path in modules for count in range(len(path))}
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    with_own = {tuple(key.key for key in path[:-1]) for path, _ in flat}
    dropouts = {path for path, kind in modules.items() if issubclass(kind, nn.Dropout)}
    return (with_own & modules.keys()) - parents | dropouts


class Reader:
    """Reads equations, one after the other, into `graph`."""

    def __init__(self, modules: dict[Path, type], layers: set[Path]):
        self.graph = Graph({}, {})
        self._modules, self._layers = modules, layers
        self._layer, self._node = "", ""  # those that the last equation belongs to

    def run(self, jaxpr: Any, values: Sequence[Value | None], scope: Path) -> list[Value | None]:
        """Reads a program that takes these values (None: of no image); returns its outputs."""
        known = dict(zip(jaxpr.invars, values, strict=True))

        def read(variable):
            return None if hasattr(variable, "val") else known.get(variable)

        for equation in jaxpr.eqns:
            inputs = [read(variable) for variable in equation.invars]
            if any(inputs):
                stack = str(equation.source_info.name_stack)
                inner = scope + tuple(stack.split("/")) if stack else scope
                results = self._equation(equation, inputs, inner)
                known |= dict(zip(equation.outvars, results, strict=True))
        return [read(variable) for variable in jaxpr.outvars]

    def add(self, node: Node) -> str:
        """Adds a node, and returns its name; the second of a name becomes "name_2"."""
        name, number = node.name, 1
        while node.name in self.graph.nodes:
            number += 1
            node.name = f"{name}_{number}"
        self.graph.nodes[node.name] = node
        return node.name

    def output(self, value: Value, path: Sequence[Any], shape: Shape) -> None:
        """Adds the node of an output of the network, and names it by its collection."""
        keys = [str(key.key) for key in path if hasattr(key, "key")]
        text = f"{keys[-1]} logits" if keys else "logits"
        self._join(self.add(Node("/".join([*keys, "logits"]), "output", text, shape)), [value])

    def _equation(self, equation, inputs, scope: Path) -> list[Value | None]:
        place = self._place(scope)
        if program := operations.inner(equation):
            return self._inner(equation, program, inputs, scope)
        values = [value for value in inputs if value]
        if place.function or place.path in self._layers:
            value = self._in_layer(equation, values, place)
        else:
            self._layer, made = "", operations.of(equation, values)
            value = operations.passed(equation, values)
            if made:
                name = "/".join([*place.names, made.name])
                shape = equation.outvars[0].aval.shape[1:]
                node = self.add(Node(name, made.kind, made.text, shape, self._block(place)))
                value = Value(self._join(node, values))
        return [value] * len(equation.outvars)

    def _in_layer(self, equation, values, place: Place) -> Value:
        layer = "/".join([*place.names, place.function]).rstrip("/")
        made = None if place.function else operations.of(equation, values[:1])
        if layer != self._layer:
            first = operations.layer(self._modules.get(place.path), place.function)
            node = Node(layer, first.kind, first.text, (), self._block(place))
            self._layer, self._node = layer, self.add(node)
        node = self.graph.nodes[self._node]
        if made and node.kind == "layer":
            node.kind, node.text = made.kind, made.text
        node.shape = equation.outvars[0].aval.shape[1:]
        return Value(self._join(node.name, [v for v in values if v.node != node.name]))

    def _inner(self, equation, program, inputs, scope: Path) -> list[Value | None]:
        """Reads the program inside of an equation; a scan's once for each of its steps."""
        if equation.primitive.name == "cond":
            return self.run(program, inputs[1:], scope)
        if equation.primitive.name != "scan":
            return self.run(program, inputs, scope)
        constants, carried = (equation.params[name] for name in ("num_consts", "num_carry"))
        fixed, carry = inputs[:constants], inputs[constants : constants + carried]
        for step in range(equation.params["length"]):
            values = [*fixed, *carry, *inputs[constants + carried :]]
            results = self.run(program, values, (*scope, f"[{step}]"))
            carry = results[:carried]
        return [*carry, *results[carried:]]

    def _join(self, target: str, values: Sequence[Value]) -> str:
        for value in values:
            self.graph.edges.setdefault((value.node, target), value.notes)
        return target

    def _place(self, scope: Path) -> Place:
        """Where a scope is.

        Its words are, besides the names of modules, those of classes, of methods
        ("block1._branch"), of transformations, and "[2]" for a step of a scan.
        """
        path, names, function, step = (), (), "", None
        for word in scope:
            name = word.partition(".")[0]
            if (*path, name) in self._modules:
                path = (*path, name)
                if step is not None:  # a `Stage` scans all blocks but its first
                    name, step = (
                        (f"block{step + 2}" if name == "blocks" else f"{name}_{step}"),
                        None,
                    )
                names = (*names, name)
            elif word in operations.FUNCTIONS:
                function = word
            elif word.startswith("["):
                step = int(word.strip("[]"))
        return Place(path, names, function)

    def _block(self, place: Place) -> str:
        """The block of an equation: a block of a `Stage`, else the network's own module."""
        in_stage = place.path and issubclass(self._modules[place.path[:1]], Stage)
        return "/".join(place.names[: 2 if in_stage else 1])
