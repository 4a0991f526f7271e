"""A network as a graph: nodes that compute, and edges along which maps go."""

import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterable

from cnn_jax import errors

Shape = tuple[int, ...]
Edge = tuple[str, str]  # source and target
TIMES = "\N{MULTIPLICATION SIGN}"
IMAGE = "image"  # the name of the node that a network begins with


@dataclasses.dataclass
class Node:
    """What computes one map from others.

    `kind`: "input", "conv", "linear", "pool", "activation" (batch norm, dropout and whatever else
    keeps the shape), "join" (of several maps), "layer" (any other with parameters), "block",
    "stage" or "output".
    """

    name: str  # the path of its module, "conv2/block1/conv1"; unique
    kind: str
    text: str  # "3x3 conv, 64, /2"; of a block or a stage, several lines
    shape: Shape = ()  # of its output, without the batch: [H, W, C] or [C]
    block: str = ""  # the path of the block that it belongs to


@dataclasses.dataclass
class Graph:
    """The nodes in the order in which they are computed, and the edges between them.

    Neither changes once somebody has asked for the sources or the targets of a node.
    `edges` has by (source, target) what changes the map on the way, as ("/2", "zeros").
    """

    nodes: dict[str, Node]
    edges: dict[Edge, tuple[str, ...]]

    @functools.cached_property
    def _ends(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        sources: dict[str, list[str]] = {name: [] for name in self.nodes}
        targets: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, target in self.edges:
            sources[target].append(source)
            targets[source].append(target)
        return sources, targets

    def sources(self, name: str) -> list[str]:
        """The nodes whose maps a node takes, in the order of the program."""
        return self._ends[0][name]

    def targets(self, name: str) -> list[str]:
        """The nodes that take a node's map."""
        return self._ends[1][name]

    def of_kind(self, *kinds: str) -> list[str]:
        """The names of the nodes of these kinds, in order."""
        return [name for name, node in self.nodes.items() if node.kind in kinds]


def reaching(graph: Graph, ends: Iterable[str]) -> Graph:
    """The part of a graph that these nodes depend on."""
    wanted, ahead = set(), list(ends)
    while ahead:
        if (name := ahead.pop()) not in wanted:
            wanted.add(name)
            ahead += graph.sources(name)
    return Graph(
        {name: node for name, node in graph.nodes.items() if name in wanted},
        {edge: notes for edge, notes in graph.edges.items() if edge[1] in wanted},
    )


def without_activations(graph: Graph) -> Graph:
    """The graph without them: what takes an activation's map takes the one before it.

    A join that is left with maps of one node, as of x and sigmoid(x), is an activation, too.
    """
    passed: dict[str, tuple[str, tuple[str, ...]]] = {}
    found = Graph({}, {})
    for name, node in graph.nodes.items():
        inward: dict[str, tuple[str, ...]] = {}
        for source in graph.sources(name):
            origin, notes = passed.get(source, (source, ()))
            inward.setdefault(origin, notes + graph.edges[source, name])
        if node.kind == "activation" or (node.kind == "join" and len(inward) == 1):
            (passed[name],) = inward.items()
            continue
        found.nodes[name] = node
        found.edges |= {(origin, name): notes for origin, notes in inward.items()}
    return found


def inside(graph: Graph, path: str) -> Graph:
    """What a module computes, with the maps that go in and come out.

    Raises `UserError` for a path that no module has, with the nearest, or else the outermost ones.
    """
    own = [name for name in graph.nodes if name == path or name.startswith(f"{path}/")]
    if not own:
        paths = prefixes(graph)
        if not difflib.get_close_matches(path, paths, n=1):
            paths = [one for one in paths if "/" not in one]
        raise errors.unknown("path in the network", path, paths)
    nodes, edges = {name: graph.nodes[name] for name in own}, {}
    for (source, target), notes in graph.edges.items():
        if target in own:
            if source not in own:
                nodes[source] = Node(source, "input", size(graph.nodes[source].shape))
                nodes[source].shape = graph.nodes[source].shape
            edges[source, target] = notes
        elif source in own:
            end = f"{source}/output"
            shape = graph.nodes[source].shape
            nodes[end] = Node(end, "output", size(shape), shape)
            edges[source, end] = ()
    first = [name for name in nodes if nodes[name].kind == "input"]
    return Graph({name: nodes[name] for name in dict.fromkeys([*first, *nodes])}, edges)


def prefixes(graph: Graph) -> list[str]:
    """The paths of modules, each once, those of blocks before those of layers."""
    paths = {}
    for name in graph.nodes:
        parts = name.split("/")
        paths |= {"/".join(parts[:count]): count for count in range(1, len(parts) + 1)}
    return sorted(paths, key=paths.__getitem__)


def size(shape: Shape) -> str:
    """A shape as papers print it, 56x56x64."""
    return TIMES.join(map(str, shape))


def dominators(graph: Graph) -> dict[str, str | None]:
    """The last node that every way from the input to a node passes; None of the first."""
    found: dict[str, str | None] = {}
    places = {name: place for place, name in enumerate(graph.nodes)}
    for name in graph.nodes:
        last: str | None = None
        for number, source in enumerate(graph.sources(name)):
            other: str | None = source
            if number == 0:
                last = source
            while last != other and last is not None and other is not None:
                if places[last] > places[other]:
                    last = found[last]
                else:
                    other = found[other]
            if other is None:
                last = None
        found[name] = last
    return found


def grouped(
    graph: Graph, group_of: dict[str, str], make: Callable[[str, list[str]], Node]
) -> Graph:
    """The graph whose nodes are groups of the nodes; `make` makes one of its name and members."""
    members: dict[str, list[str]] = {}
    for name in graph.nodes:
        members.setdefault(group_of[name], []).append(name)
    nodes = {group: make(group, names) for group, names in members.items()}
    edges: dict[Edge, tuple[str, ...]] = {}
    for (source, target), notes in graph.edges.items():
        edge = group_of[source], group_of[target]
        if edge[0] != edge[1]:
            edges.setdefault(edge, notes)
    return Graph(nodes, edges)
