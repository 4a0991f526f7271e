"""Two other readings of a network: of its program without the module's names, and of a drawing."""

import functools
import xml.etree.ElementTree as ET

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax import models
from cnn_jax.analysis.draw.program import trace
from cnn_jax.models import layers
from cnn_jax.models.cpu.xla import eval_shape, tracing_only_shapes
from cnn_jax.models.inception_blocks import ConvUnit, Mixed

SMALL = (16, 16, 3)
NETWORKS = {
    "shortcut A": ("cifar_resnet", SMALL, {"depth": 8, "shortcut": "A"}),
    "scanned stages": ("cifar_resnet", SMALL, {"depth": 29, "block": "single", "death_rate": 0.5}),
    "projections": ("cifar_resnet", SMALL, {"depth": 8, "shortcut": "B", "remat": True}),
    "gates": ("cifar_resnet", SMALL, {"depth": 5, "block": "single", "gating": "exclusive"}),
    "pre-activation": ("wide_resnet", SMALL, {"depth": 10, "width": 1, "dropout": 0.3}),
    "two towers and LRN": ("alexnet", (227, 227, 3), {"fc_width": 8}),
    "bypasses": ("squeezenet", SMALL, {"bypass": "complex", "small_input": True}),
}
POOLS = ("reduce_window_max", "reduce_window_sum")


class Branched(nn.Module):
    """An Inception module, a block with a shortcut of its own, an auxiliary head."""

    @nn.compact
    def __call__(self, images, train=False):
        def conv(*arguments, name):
            return ConvUnit(*arguments, norm=layers.BatchNorm, name=name)

        branches = (("1x1 4",), ("1x1 2", ("1x3 3", "3x1 3")), ("avg 3x3", "1x1 2"))
        x = Mixed(branches, conv, False, name="mixed")(images, train)
        if train:
            self.sow("aux_logits", "side", nn.Dense(5, name="aux")(x.mean((1, 2))))
        x = nn.swish(layers.Conv(8, (3, 3), strides=2, padding=1, name="reduce")(x))
        x = x + nn.relu(layers.Conv(8, (3, 3), padding=1, name="last")(x))
        return nn.Dense(5, name="fc")(nn.Dropout(0.5, deterministic=not train)(x.mean((1, 2))))


def network(key):
    """The module and the shape of its images."""
    name, shape, options = NETWORKS[key]
    return models.create(name, num_classes=7, **options), shape


@functools.cache
def traced(key):
    """The graph of one of `NETWORKS`, or of `Branched`, with activations."""
    return trace(*(network(key) if key else (Branched(), (8, 8, 3))))


def program(model, image_shape):
    """The nodes [(kind, shape)] of `model.apply` in evaluation, and the edges between them.

    Of the program alone: a convolution, a product, a pool or an equation that takes several of them
    is a node, numbered in order, and all else passes on what it takes.
    """
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    variables = eval_shape(model.init, jax.random.key(0), images)
    with tracing_only_shapes():
        closed = jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, images)
    nodes, edges = [("input", image_shape)], set()

    def read(jaxpr, inputs):
        values = dict(zip(jaxpr.invars, inputs, strict=True))

        def taken(equation):
            return [values.get(v) if not hasattr(v, "val") else None for v in equation.invars]

        for equation in jaxpr.eqns:
            inputs, name = taken(equation), equation.primitive.name
            found = {value for value in inputs if value is not None}
            inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
            if not found:
                outputs = [None] * len(equation.outvars)
            elif name == "scan":
                outputs = inputs
                carried = equation.params["num_consts"]
                for _ in range(equation.params["length"]):
                    state = read(inner.jaxpr, outputs)
                    outputs = [*inputs[:carried], state[0], *inputs[carried + 1 :]]
                outputs = state
            elif inner is not None and not name.startswith("reduce"):
                outputs = read(getattr(inner, "jaxpr", inner), inputs)
            else:
                mean = name == "reduce_sum" and tuple(equation.params["axes"]) == (1, 2)
                kinds = {"conv_general_dilated": "conv", "dot_general": "linear"}
                kind = "pool" if mean or name in POOLS else kinds.get(name)
                kind = "join" if len(found) > 1 else kind
                if kind:
                    edges.update((source, len(nodes)) for source in found)
                    found = {len(nodes)}
                    nodes.append((kind, equation.outvars[0].aval.shape[1:]))
                outputs = list(found) * len(equation.outvars)
            values |= dict(zip(equation.outvars, outputs, strict=True))
        return [values.get(variable) for variable in jaxpr.outvars]

    leaves = len(jax.tree.leaves(variables))
    (end,) = read(closed.jaxpr, [*[None] * leaves, 0])
    edges.add((end, len(nodes)))
    return [*nodes, ("output", closed.out_avals[0].shape[1:])], edges


def numbered(graph):
    """The same of a graph without activations: its nodes in order, and the edges."""
    places = {name: place for place, name in enumerate(graph.nodes)}
    nodes = [(node.kind, node.shape) for node in graph.nodes.values()]
    return nodes, {(places[source], places[target]) for source, target in graph.edges}


def drawn(svg):
    """The nodes of an SVG by the name that they have there, with their texts, and the edges."""
    tag = "{http://www.w3.org/2000/svg}"
    nodes, edges = {}, {}
    for group in ET.fromstring(svg).iter(f"{tag}g"):
        title = group.findtext(f"{tag}title")
        if group.get("class") == "node" and not title.startswith(("title:", "size:")):
            nodes[title] = " ".join(text.text for text in group.iter(f"{tag}text"))
        if group.get("class") == "edge":
            path = group.find(f"{tag}path")
            ends = tuple(end.removesuffix(":e") for end in title.split("->"))
            edges[ends] = "dotted" if path.get("stroke-dasharray") else "solid"
    return nodes, edges
