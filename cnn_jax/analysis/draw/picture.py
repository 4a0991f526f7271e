"""Graphs as a picture: Graphviz lays them out, by pygraphviz, whose wheels bring Graphviz along.

It needs no system package on Linux, macOS and Windows, keeps a chain of 34 layers in one straight
column with the shortcuts as arcs at its side, and writes SVG, PDF and PNG.
"""

import difflib
import graphlib
import html
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cnn_jax import errors, files
from cnn_jax.analysis.draw import levels
from cnn_jax.analysis.draw.graph import IMAGE, Edge, Graph, Node, Shape, dominators, size
from cnn_jax.errors import UserError

WORDS = ("input", "output", "activation")  # what is written without a box around it
FORMATS = ("svg", "pdf", "png")
FONT = "Helvetica,Arial,sans-serif"
# One for each size of maps, as in He et al. (2016), Figure 3.
COLORS = ("#cfe0f3", "#e4daf0", "#cfe6cf", "#f9d5d0", "#fbe7c6", "#d3ebea", "#f6dcea", "#e6e6d4")
GRAY = "#555555"
GRAPH = {
    **{
        "ranksep": "0.14",
        "nodesep": "0.18",
        "newrank": "true",
        "splines": "true",
        "ordering": "out",
    },
    **{"fontname": FONT, "pad": "0.1", "bgcolor": "white"},
}
BOX = {
    **{"shape": "box", "style": "filled,rounded", "fontname": FONT, "fontsize": "11"},
    **{"height": "0.24", "margin": "0.07,0.02", "color": GRAY, "penwidth": "0.7"},
    **{"fillcolor": "white", "width": "0.9"},
}
ROUND = {"shape": "circle", "fixedsize": "true", "width": "0.19", "height": "0.19"}
ROUND |= {"margin": "0", "fontsize": "10"}
PLAIN = {"shape": "plaintext", "style": "", "fontsize": "10", "fontcolor": GRAY}
PLAIN |= {"height": "0.19", "width": "0.1", "margin": "0.03,0"}
EDGE = {"arrowsize": "0.45", "penwidth": "0.8", "color": "#222222", "fontname": FONT}
EDGE |= {"fontsize": "9", "fontcolor": GRAY}
DOTTED = {"style": "dotted", "penwidth": "1.3"}
UNSEEN = {"style": "invis", "weight": "100"}
TITLE = {"shape": "plaintext", "style": "", "fontsize": "13", "margin": "0.15,0.03"}
COLUMN = "1.45"  # inches, the width of the boxes one below the other


class Picture(NamedTuple):
    """A network, or a part of one, with what stands above it."""

    title: str
    graph: Graph


def write(pictures: Sequence[Picture], out: Path, columns: int | None = None) -> None:
    """Draws pictures into a file, side by side, or in rows of so many `columns`.

    Raises `UserError` for a suffix that is none of `FORMATS`, and where pygraphviz is missing.
    """
    suffix = check(out)
    drawing = lay_out(pictures, columns or len(pictures))
    if suffix == "png":
        drawing.graph_attr["dpi"] = "160"
    files.write_bytes(out, drawing.draw(format=suffix, prog="dot"))


def check(out: Path) -> str:
    """The format of a file; raises `UserError` where its suffix is none of `FORMATS`."""
    suffix = out.suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        raise errors.unknown(f"suffix of --out={out}", suffix, FORMATS)
    return suffix


def lay_out(pictures: Sequence[Picture], columns: int) -> Any:
    """The `pygraphviz.AGraph` of pictures; node "2:conv1" is conv1 of the third one."""
    try:
        import pygraphviz
    except ImportError:
        message = "drawings need pygraphviz, which brings Graphviz along: pip install pygraphviz"
        raise UserError(message) from None
    drawing = pygraphviz.AGraph(directed=True, strict=False, **GRAPH)
    drawing.node_attr.update(BOX)
    drawing.edge_attr.update(EDGE)
    colors = sizes_of(node for picture in pictures for node in picture.graph.nodes.values())
    spines = [spine(picture.graph) for picture in pictures]
    aligned = []
    for first in range(0, len(pictures), columns):
        aligned += rows(drawing, dict(list(enumerate(spines))[first : first + columns]))
    for number, (picture, column) in enumerate(zip(pictures, spines, strict=True)):
        label = f"<<b>{html.escape(picture.title) or ' '}</b>>"
        drawing.add_node(f"title:{number}", label=label, **TITLE, group=f"{number}:column")
        drawing.add_edge(f"title:{number}", f"{number}:{column[0].name}", **UNSEEN)
        add(drawing, picture.graph, [node.name for node in column], f"{number}:", colors)
    for row in aligned:
        drawing.add_subgraph(row, rank="same")
    for number in range(columns, len(pictures)):
        last = spines[number - columns][-1].name
        drawing.add_edge(f"{number - columns}:{last}", f"title:{number}", **UNSEEN)
    return drawing


def add(drawing: Any, graph: Graph, column: Sequence[str], prefix: str, colors: Sequence) -> None:
    """Adds a graph; its column is straight, its shortcuts are arcs to the right of it."""
    shortcuts = levels.shortcuts(graph)
    around = {edge: shortcut for shortcut in shortcuts for edge in shortcut.edges}
    beside = {name for shortcut in shortcuts for name in shortcut.nodes}
    for name, node in graph.nodes.items():
        attributes = look(node, colors)
        if name in column:
            attributes["group"] = f"{prefix}column"
        if name in column and is_box(node):
            attributes["width"] = COLUMN
        if name in beside and is_box(node):
            attributes["style"] = "filled,rounded,dashed"
        drawing.add_node(prefix + name, **attributes)
    straight = set(itertools.pairwise(column))
    for source, target in ordered(graph, straight, around):
        if (source, target) not in graph.edges:
            attributes = UNSEEN
        elif (source, target) in around:
            attributes = {"weight": "10" if target in beside else "0"}
            attributes |= DOTTED if around[source, target].changes else {}
            if notes := graph.edges[source, target]:
                attributes["label"] = f" {', '.join(notes)}"
            attributes |= {} if source in beside else {"tailport": "e"}
            attributes |= {} if target in beside else {"headport": "e"}
        elif (source, target) in straight:
            same = graph.nodes[source].shape[:-1] == graph.nodes[target].shape[:-1]
            attributes = {"weight": "100" if same else "50"}  # where sizes change, arrows are long
        else:
            alone = len(graph.targets(source)) == len(graph.sources(target)) == 1
            attributes = {"weight": "20" if alone else str(1 + 2 * (target not in column))}
        drawing.add_edge(prefix + source, prefix + target, **attributes)


def ordered(graph: Graph, straight: set[Edge], around: Iterable[Edge]) -> list[Edge]:
    """The edges from the left to the right: branches as in the program, then shortcuts.

    Amid the branches of a node is an edge that is not seen: it keeps the column straight.
    """
    edges = sorted(graph.edges, key=lambda edge: edge in around)
    for source, target in straight - graph.edges.keys():
        own = [edge for edge in edges if edge[0] == source]
        edges.insert(edges.index(own[len(own) // 2]), (source, target))
    return edges


def spine(graph: Graph) -> list[Node]:
    """The nodes of the column: all that the way to the first output passes, but branches."""
    before, main = dominators(graph), {}
    for shortcut in levels.shortcuts(graph):
        ends = [edge[0] for edge in shortcut.edges if edge[1] == shortcut.join]
        (main[shortcut.join],) = set(graph.sources(shortcut.join)) - set(ends)
    column = [graph.of_kind("output")[0]]
    while (name := main.get(column[-1], before[column[-1]])) is not None:
        column.append(name)
    return [graph.nodes[name] for name in reversed(column)]


def is_box(node: Node) -> bool:
    """Whether a node is drawn as a box, and not as a sign or a word."""
    return node.kind not in WORDS and len(node.text) > 1


def look(node: Node, colors: Sequence[Shape]) -> dict[str, str]:
    """The attributes of a node."""
    if not is_box(node):
        return {"label": node.text, **(ROUND if node.kind == "join" else PLAIN)}
    found = {"label": node.text}
    if node.kind in ("block", "stage"):
        lines = list(map(html.escape, node.text.splitlines()))
        if title := levels.title(node):
            lines = [f"<b>{html.escape(title)}</b>", *lines]
        if node.kind == "block":
            lines.append(f'<font color="{GRAY}">{size(node.shape)}</font>')
        found["label"] = f"<{'<br/>'.join(lines)}>"
    if node.kind not in ("pool", "join") and node.shape[:-1] in colors:
        found["fillcolor"] = COLORS[colors.index(node.shape[:-1]) % len(COLORS)]
    return found


def sizes_of(nodes: Iterable[Node]) -> list[Shape]:
    """The heights and widths of maps, in the order in which they are computed."""
    maps = (node for node in nodes if len(node.shape) == 3 and node.kind != "input")
    return list(dict.fromkeys(node.shape[:-1] for node in maps))


def common_sizes(columns: Iterable[Sequence[Node]]) -> list[Shape]:
    """The sizes of all columns, in the order of each; none where two have them in other orders."""
    sorter: graphlib.TopologicalSorter[Shape] = graphlib.TopologicalSorter()
    for column in columns:
        sizes = sizes_of(column)
        for before, after in itertools.pairwise([None, *sizes]):
            sorter.add(after, *([before] if before else []))
    try:
        return list(sorter.static_order())
    except graphlib.CycleError:
        return []


def rows(drawing: Any, columns: dict[int, list[Node]]) -> list[list[str]]:
    """What stands side by side in a row of pictures; adds the sizes of maps of whole networks.

    `columns` are the nodes one below the other, by the number of the picture.
    """
    whole = all(column[0].name == IMAGE for column in columns.values())
    sizes = common_sizes(columns.values()) if whole else []
    found = [[f"{number}:{column[0].name}" for number, column in columns.items()]]
    for shape in sizes:
        found.append([])
        for number, column in columns.items():
            own = [n.name for n in column if n.shape[:-1] == shape and n.kind != "input"]
            found[-1] += [f"{number}:{name}" for name in own[:1]]
    if whole and not any(node.kind == "stage" for node in columns[min(columns)]):
        labels = ["output size", *map(size, sizes)]
        for label, row in zip(labels, found, strict=True):
            drawing.add_node(f"size:{label}", label=label, **PLAIN)
            row.insert(0, f"size:{label}")
        for before, after in itertools.pairwise(labels):
            drawing.add_edge(f"size:{before}", f"size:{after}", style="invis")
    for pair in itertools.pairwise(columns):
        layers = ((n, [node for node in columns[n] if node.kind not in WORDS]) for n in pair)
        found += equal_rows(*layers)
    return found


def equal_rows(left: tuple[int, list[Node]], right: tuple[int, list[Node]]) -> Iterator[list[str]]:
    """The pairs of layers of two columns that have the same name and give the same shape."""
    keys = [[(node.name, node.shape) for node in column] for _, column in (left, right)]
    for block in difflib.SequenceMatcher(None, *keys, autojunk=False).get_matching_blocks():
        for name, _ in keys[0][block.a : block.a + block.size]:
            yield [f"{left[0]}:{name}", f"{right[0]}:{name}"]
