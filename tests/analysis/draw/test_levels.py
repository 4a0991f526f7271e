"""Blocks and stages have the edges between their layers; shortcuts are told from the rest."""

import pytest

from cnn_jax.analysis.draw import levels
from cnn_jax.analysis.draw.graph import Graph, Node, dominators, inside
from cnn_jax.errors import UserError
from tests.analysis.draw.reading import NETWORKS, traced

X = "\N{MULTIPLICATION SIGN}"


def at(key, level):
    return levels.at_level(traced(key), level)


def lines(node):
    return node.text.replace(X, "x").splitlines()


@pytest.mark.parametrize("key", [*NETWORKS, None])
def test_no_edge_of_the_layers_is_lost_in_blocks(key):
    layers, blocks = at(key, "layer"), at(key, "block")
    group = {}
    for name, node in layers.nodes.items():
        group[name] = name if name in blocks.nodes else node.block
    edges = {(group[source], group[target]) for source, target in layers.edges}
    assert set(blocks.edges) == {(source, target) for source, target in edges if source != target}


def test_shortcuts_go_around_the_longest_way():
    found = {s.join: s for s in levels.shortcuts(at("projections", "layer"))}
    assert {join: s.nodes for join, s in found.items()} == {
        "conv2/block1/add": (),
        "conv3/block1/add": ("conv3/block1/shortcut",),
        "conv4/block1/add": ("conv4/block1/shortcut",),
    }
    assert [s.changes for s in found.values()] == [False, True, True]


def test_of_two_ways_with_one_layer_the_smaller_kernel_is_the_shortcut():
    nodes = [Node("image", "input", "image"), Node("a", "conv", "1x1 conv, 4")]
    nodes += [Node("b", "conv", "3x3 conv, 4"), Node("sum", "join", "+")]
    edges = dict.fromkeys([("image", "a"), ("image", "b"), ("a", "sum"), ("b", "sum")], ())
    (shortcut,) = levels.shortcuts(Graph({node.name: node for node in nodes}, edges))
    assert shortcut.nodes == ("a",) and shortcut.split == "image"


def test_branches_that_are_joined_by_channels_are_no_shortcuts():
    assert [s.join for s in levels.shortcuts(at(None, "layer"))] == ["add"]


def test_the_last_node_before_all_branches_dominates_their_join():
    before = dominators(at(None, "layer"))
    assert before["mixed/concat"] == "image" == before["mixed/Branch_1/Conv2d_0a_1x1/conv"]
    assert before["mixed/Branch_1/concat"] == "mixed/Branch_1/Conv2d_0a_1x1/conv"
    assert before["image"] is None and before["logits"] == "fc"


def test_a_block_lists_its_layers_and_leaves_its_shortcut_outside():
    graph = at("projections", "block")
    block = graph.nodes["conv3/block1"]
    assert (block.kind, block.shape) == ("block", (8, 8, 32))
    assert lines(block) == ["3x3, 32, /2", "3x3, 32"]
    assert graph.sources("conv3/block1/add") == ["conv3/block1/shortcut", "conv3/block1"]
    assert graph.sources("conv3/block1/shortcut") == ["conv2/block1/add"]


def test_a_block_of_branches_has_a_line_for_each():
    assert lines(at(None, "block").nodes["mixed"]) == [
        "1x1, 4",
        "1x1, 2 \N{RIGHTWARDS ARROW} 1x3, 3",
        "1x1, 2 \N{RIGHTWARDS ARROW} 3x1, 3",
        "avg pool 3x3 \N{RIGHTWARDS ARROW} 1x1, 2",
    ]


def test_a_stage_counts_its_equal_blocks():
    stages = at("scanned stages", "stage")
    assert [lines(node) for node in stages.nodes.values()] == [
        ["image 16x16x3"],
        ["3x3 conv, 16", "9 x [3x3, 16]"],
        ["9 x [3x3, 32]"],
        ["9 x [3x3, 64]"],
        ["global avg pool", "fc 7"],
        ["logits"],
    ]
    assert [node.shape for node in stages.nodes.values()][1:4] == [
        (16, 16, 16),
        (8, 8, 32),
        (4, 4, 64),
    ]


def test_a_stage_names_blocks_that_have_branches():
    stages = at(None, "stage")
    assert lines(stages.nodes["mixed"]) == ["mixed, 12"]
    assert lines(stages.nodes["reduce"]) == ["3x3 conv, 8, /2", "3x3 conv, 8"]
    assert set(stages.edges) == {
        ("image", "mixed"),
        ("mixed", "reduce"),
        ("mixed", "global_avg_pool"),
        ("reduce", "global_avg_pool_2"),
        ("global_avg_pool", "aux_logits/side/logits"),
        ("global_avg_pool_2", "logits"),
    }


def test_a_part_has_the_maps_that_go_in_and_come_out():
    part = inside(at("bypasses", "layer"), "fire3")
    assert [(name, node.text.replace(X, "x")) for name, node in part.nodes.items()] == [
        ("fire2/add", "8x8x128"),
        ("fire3/squeeze1x1", "1x1 conv, 16"),
        ("fire3/expand1x1", "1x1 conv, 64"),
        ("fire3/expand3x3", "3x3 conv, 64"),
        ("fire3/concat", "concat, 128"),
        ("fire3/add", "+"),
        ("fire3/add/output", "8x8x128"),
    ]
    assert part.sources("fire3/add") == ["fire3/concat", "fire2/add"]


@pytest.mark.parametrize("path,near", [("conv3/blok1", "conv3/block1"), ("fcc", "fc")])
def test_a_path_that_is_not_there_is_told_with_the_nearest(path, near):
    with pytest.raises(UserError, match=f"did you mean '{near}'"):
        inside(at("projections", "layer"), path)


def test_without_a_near_path_the_outermost_ones_are_told():
    with pytest.raises(UserError, match="choose from: image, conv1, conv2, conv3, conv4, "):
        inside(at("projections", "layer"), "zzz")


def test_an_unknown_level_is_told_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown level 'layers' \(did you mean 'layer'\?\)"):
        at("projections", "layers")


def test_what_changes_a_map_before_an_activation_is_noted_behind_it():
    nodes = [Node("a", "conv", ""), Node("relu", "activation", ""), Node("b", "conv", "")]
    edges = {("a", "relu"): ("/2",), ("relu", "b"): ("zeros",)}
    found = levels.at_level(Graph({node.name: node for node in nodes}, edges), "layer")
    assert found.edges == {("a", "b"): ("/2", "zeros")}
