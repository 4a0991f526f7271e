"""The same network in fewer nodes: its layers, its blocks, its stages."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cnn_jax import errors
from cnn_jax.analysis.draw.graph import (
    TIMES,
    Edge,
    Graph,
    Node,
    dominators,
    grouped,
    size,
    without_activations,
)

LEVELS = ("stage", "block", "layer")
COMPUTING = ("conv", "linear", "pool", "layer")


class Shortcut(NamedTuple):
    """A way around others to a sum."""

    split: str  # where it begins
    join: str
    nodes: tuple[str, ...]  # on it, as the projection
    edges: tuple[Edge, ...]
    changes: bool  # the shape, so that papers dot it


def at_level(graph: Graph, level: str, activations: bool = False) -> Graph:
    """The graph at one of `LEVELS`; of layers, with the activations between them or without.

    Raises `UserError` for another level, with the nearest.
    """
    if level not in LEVELS:
        raise errors.unknown("level", level, LEVELS)
    if level == "layer" and activations:
        return graph
    layers = without_activations(graph)
    return {"layer": lambda graph: graph, "block": blocks, "stage": stages}[level](layers)


def shortcuts(graph: Graph) -> list[Shortcut]:
    """The shortcuts: the ways to a sum from where it splits but the one with the most layers."""
    found, before = [], dominators(graph)
    for join, node in graph.nodes.items():
        split = before[join]
        if node.text != "+" or split is None:
            continue
        ways = [way(graph, split, source, join) for source in graph.sources(join)]
        main = max(range(len(ways)), key=lambda number: weight(graph, ways[number]))
        changes = graph.nodes[split].shape != node.shape
        for names in (names for number, names in enumerate(ways) if number != main and names):
            edges = tuple(itertools.pairwise(names))
            found.append(Shortcut(split, join, tuple(names[1:-1]), edges, changes))
    return found


def way(graph: Graph, split: str, source: str, join: str) -> list[str]:
    """The nodes from a split to a join by way of a source; empty where it splits again."""
    names = [join, source]
    while names[-1] != split:
        sources = graph.sources(names[-1])
        if len(sources) != 1 or len(graph.targets(names[-1])) != 1:
            return []
        names += sources
    return names[::-1]


def weight(graph: Graph, names: Sequence[str]) -> tuple[float, list[str]]:
    """How much a way computes: the number of its layers; of as many, those with larger kernels."""
    nodes = [graph.nodes[name] for name in names[1:-1]]
    if not names or "block" in (node.kind for node in nodes):
        return math.inf, []
    texts = [node.text for node in nodes if node.kind in COMPUTING]
    return len(texts), texts


def blocks(graph: Graph) -> Graph:
    """A node for each block; a shortcut around a block, and the sum at its end, stay outside."""
    around = {}
    for shortcut in shortcuts(graph):
        block = graph.nodes[shortcut.join].block
        after = [graph.nodes[name].block for name in graph.targets(shortcut.join)]
        if block not in (graph.nodes[shortcut.split].block, *after):
            around |= dict.fromkeys((shortcut.join, *shortcut.nodes))
    block_of = {name: name if name in around else node.block for name, node in graph.nodes.items()}
    return of_blocks(graph, block_of)


def of_blocks(graph: Graph, block_of: dict[str, str]) -> Graph:
    """The graph of these blocks; a node that is its block's only one, or in none, stays."""
    count = Counter(block_of.values())
    bypass = {name for shortcut in shortcuts(graph) for name in shortcut.nodes}
    group_of = {
        name: block if block and count[block] > 1 else name for name, block in block_of.items()
    }

    def make(name: str, members: list[str]) -> Node:
        if name in graph.nodes:
            return graph.nodes[name]
        text = "\n".join(content(graph, [name for name in members if name not in bypass]))
        return Node(name, "block", text, graph.nodes[members[-1]].shape, name)

    return grouped(graph, group_of, make)


def content(graph: Graph, members: Sequence[str]) -> list[str]:
    """The layers of a block: a line each, or of parallel branches a line for each branch."""
    branches = list(dict.fromkeys(tuple(texts(graph, way)) for way in ways(graph, members)))
    branches = [branch for branch in branches if branch]
    return list(branches[0]) if len(branches) == 1 else [" → ".join(words) for words in branches]


def texts(graph: Graph, names: Sequence[str]) -> Iterator[str]:
    """What the layers of a way do, in short: "3x3, 64"."""
    for node in map(graph.nodes.__getitem__, names):
        if node.kind in COMPUTING:
            yield node.text.replace(" conv", "")


def ways(graph: Graph, members: Sequence[str]) -> Iterator[list[str]]:
    """Every way through these nodes, from their first to their last."""

    def onward(name: str) -> Iterator[list[str]]:
        targets = [target for target in graph.targets(name) if target in inside]
        for rest in (rest for target in targets for rest in onward(target)):
            yield [name, *rest]
        if not targets:
            yield [name]

    inside = set(members)
    for name in members:
        if not inside & set(graph.sources(name)):
            yield from onward(name)


def stages(graph: Graph) -> Graph:
    """A node for consecutive blocks with maps of one size."""
    whole = of_blocks(graph, {name: node.block for name, node in graph.nodes.items()})
    stage_of: dict[str, str] = {}
    for name, node in whole.nodes.items():
        sources = [whole.nodes[source] for source in whole.sources(name)]
        before = {stage_of[source.name] for source in sources}
        alike = all(source.shape[:-1] == node.shape[:-1] for source in sources)
        ends = node.kind == "output" or "input" in (source.kind for source in sources)
        stage_of[name] = before.pop() if len(before) == 1 and alike and not ends else name

    def make(name: str, members: list[str]) -> Node:
        if whole.nodes[name].kind in ("input", "output"):
            return whole.nodes[name]
        nodes = [whole.nodes[member] for member in members]
        lines = [line(node) for node in nodes if node.kind != "join"]
        counted = [(text, len(list(equal))) for text, equal in itertools.groupby(lines)]
        text = "\n".join(
            text if count == 1 else f"{count} {TIMES} {text}" for text, count in counted
        )
        return Node(name, "stage", text, whole.nodes[members[-1]].shape)

    return grouped(whole, stage_of, make)


def line(node: Node) -> str:
    """A block in one line: its convolutions without strides, or its name where it has others."""
    if node.kind != "block":
        return node.text
    lines = node.text.splitlines()
    if "→" in node.text or not all(text[0].isdigit() for text in lines):
        return f"{node.name}, {node.shape[-1]}"
    return f"[{'; '.join(text.replace(', /2', '') for text in lines)}]"


def title(node: Node) -> str:
    """What stands above the content of a block or a stage; nothing of a classifier."""
    if node.kind == "block":
        return node.name
    return size(node.shape) if len(node.shape) == 3 else ""
