"""What a file shows is what the program computes."""

import sys

import pytest

from cnn_jax import models
from cnn_jax.analysis.draw import levels, picture
from cnn_jax.analysis.draw.graph import Graph, Node, inside
from cnn_jax.analysis.draw.picture import Picture
from cnn_jax.analysis.draw.program import trace
from cnn_jax.errors import UserError
from tests.analysis.draw import reading
from tests.analysis.draw.reading import traced

pytest.importorskip("pygraphviz")


def layers(key):
    return levels.at_level(traced(key), "layer")


def check(svg, graph, key):
    """Raises where the drawing of a graph lacks a node or an edge of the program, or has others."""
    nodes, edges = reading.drawn(svg)
    expected, program = reading.program(*reading.network(key))
    names = [f"0:{name}" for name in graph.nodes]
    assert sorted(nodes) == sorted(names) and len(names) == len(expected)
    assert set(edges) == {(names[source], names[target]) for source, target in program}


@pytest.fixture
def svg(tmp_path):
    def draw(*pictures, **options):
        picture.write(pictures, tmp_path / "drawing.svg", **options)
        return (tmp_path / "drawing.svg").read_text()

    return draw


def test_a_drawing_has_the_nodes_and_edges_of_the_program(svg):
    graph = layers("projections")
    check(svg(Picture("", graph)), graph, "projections")


def test_a_drawing_without_a_shortcut_does_not_pass(svg):
    graph = layers("projections")
    edges = {e: notes for e, notes in graph.edges.items() if e != ("conv1", "conv2/block1/add")}
    text = svg(Picture("", Graph(graph.nodes, edges)))
    with pytest.raises(AssertionError):
        check(text, graph, "projections")


def test_shortcuts_are_dotted_where_dimensions_change(svg):
    _, edges = reading.drawn(svg(Picture("", layers("projections"))))
    assert {edge for edge, style in edges.items() if style == "dotted"} == {
        (f"0:{before}/block1/add", f"0:{stage}/block1/shortcut")
        for before, stage in (("conv2", "conv3"), ("conv3", "conv4"))
    } | {(f"0:{s}/block1/shortcut", f"0:{s}/block1/add") for s in ("conv3", "conv4")}


def test_nodes_show_their_texts_and_paths_their_notes(svg):
    text = svg(Picture("A & B", layers("shortcut A")))
    nodes, _ = reading.drawn(text)
    assert nodes["0:conv3/block1/conv1"] == "3\N{MULTIPLICATION SIGN}3 conv, 32, /2"
    assert "A &amp; B" in text and "/2, zeros" in text


def places(drawing):
    """Where Graphviz puts each node: (x, y) in points, y upward."""
    drawing.layout(prog="dot")
    return {n: tuple(map(float, n.attr["pos"].split(","))) for n in drawing.nodes()}


def test_a_network_is_a_straight_column_with_its_projections_to_the_right():
    place = places(picture.lay_out([Picture("", layers("pre-activation"))], 1))
    column = {name: x for name, (x, _) in place.items() if name.startswith("0:")}
    beside = {name for name in column if name.endswith("/shortcut")}
    straight = {x for name, x in column.items() if name not in beside}
    assert max(straight) - min(straight) < 1 and len(beside) == 2
    assert all(column[name] > max(straight) + 50 for name in beside)


def test_sizes_and_equal_layers_of_networks_stand_side_by_side():
    both = [Picture("", layers(key)) for key in ("shortcut A", "projections")]
    place = places(picture.lay_out(both, 2))
    for name in ("image 16", "conv1", "conv3/block1/conv2", "conv4/block1/add", "fc"):
        name = name.partition(" ")[0]
        assert place[f"0:{name}"][1] == place[f"1:{name}"][1]
        assert place[f"0:{name}"][0] < place[f"1:{name}"][0]
    first = place["0:conv4/block1/conv1"]
    assert place["size:4\N{MULTIPLICATION SIGN}4"][1] == first[1]


def test_sizes_stand_in_the_order_of_the_program_where_maps_grow_again():
    network = models.create("squeezenet", num_classes=7, small_input=True, conv10_padding=2)
    graph = levels.at_level(trace(network, (16, 16, 3)), "block")
    place = places(picture.lay_out([Picture("", graph)], 1))
    rows = [place[f"size:{side}\N{MULTIPLICATION SIGN}{side}"][1] for side in (16, 8, 4, 2, 6)]
    assert rows == sorted(rows, reverse=True) and rows[-1] == place["0:conv10"][1]


def test_networks_with_sizes_in_other_orders_are_not_aligned():
    up, down = (
        [Node("a", "conv", "", (side, side, 1)) for side in sides] for sides in ((4, 8), (8, 4))
    )
    assert picture.common_sizes([down, down[1:]]) == [(8, 8), (4, 4)]
    assert picture.common_sizes([up, down]) == []


def test_branches_stand_side_by_side_in_the_order_of_the_program():
    part = inside(layers(None), "mixed")
    place = places(picture.lay_out([Picture("", part)], 1))
    first = [f"0:{name}" for name in part.targets("image")]
    assert first == sorted(first, key=lambda name: place[name][0])
    assert len({place[name][1] for name in first}) == 1 and len(first) == 3


def test_drawings_go_on_in_a_new_row(svg):
    parts = [
        Picture(name, inside(layers("bypasses"), name)) for name in ("fire2", "fire3", "fire4")
    ]
    place = places(picture.lay_out(parts, 2))
    assert place["0:fire2/concat"][1] == place["1:fire3/concat"][1]
    assert place["2:fire4/squeeze1x1"][1] < place["0:fire2/add"][1]


@pytest.mark.parametrize("suffix,start", [("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_other_formats_are_written(suffix, start, tmp_path):
    out = tmp_path / f"drawing.{suffix}"
    picture.write([Picture("", inside(layers("bypasses"), "fire2"))], out)
    assert out.read_bytes().startswith(start)


def test_an_unknown_suffix_is_told_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match=r"did you mean 'svg'\?\); choose from: svg, pdf, png"):
        picture.write([], tmp_path / "drawing.svgz")


def test_a_missing_layout_library_is_told_by_the_name_of_its_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(UserError, match="pip install pygraphviz"):
        picture.write([], tmp_path / "drawing.svg")
