"""The graph of a network is that of its program, of any family."""

import pytest

from cnn_jax import models
from cnn_jax.analysis.draw import levels, program
from cnn_jax.analysis.draw.graph import reaching
from cnn_jax.errors import UserError
from tests.analysis.draw import reading

SMALL = (16, 16, 3)
NETWORKS = {
    "shortcut A": ("cifar_resnet", SMALL, {"depth": 8, "shortcut": "A"}),
    "scanned stages": ("cifar_resnet", SMALL, {"depth": 29, "block": "single", "death_rate": 0.5}),
    "remat and projections": ("cifar_resnet", SMALL, {"depth": 8, "shortcut": "B", "remat": True}),
    "gates": ("cifar_resnet", SMALL, {"depth": 5, "block": "single", "gating": "exclusive"}),
    "pre-activation": ("wide_resnet", SMALL, {"depth": 10, "width": 1, "dropout": 0.3}),
    "two towers and LRN": ("alexnet", (227, 227, 3), {"fc_width": 8}),
    "bypasses": ("squeezenet", SMALL, {"bypass": "complex", "small_input": True}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    name, shape, options = NETWORKS[request.param]
    return models.create(name, num_classes=7, **options), shape


def test_nodes_and_edges_are_those_of_the_traced_program(network):
    graph = levels.at_level(program.trace(*network), "layer")
    assert reading.numbered(graph) == reading.program(*network)


@pytest.fixture(scope="module")
def branched():
    return program.trace(reading.Branched(), (8, 8, 3))


def test_a_module_of_no_family_is_read_in_the_same_way(branched):
    layers = reaching(levels.at_level(branched, "layer"), ["logits"])
    assert reading.numbered(layers) == reading.program(reading.Branched(), (8, 8, 3))


def test_an_auxiliary_head_ends_in_logits_of_its_own(branched):
    (last,) = branched.sources("aux_logits/side/logits")
    assert last == "aux" and branched.sources("aux") == ["global_avg_pool"]
    assert branched.sources("global_avg_pool") == ["mixed/concat"]


def test_nodes_tell_kernels_strides_channels_and_sizes(branched):
    texts = {
        name: node.text.replace("\N{MULTIPLICATION SIGN}", "x")
        for name, node in branched.nodes.items()
    }
    assert texts["reduce"] == "3x3 conv, 8, /2" and branched.nodes["reduce"].shape == (4, 4, 8)
    assert texts["mixed/Branch_1/Conv2d_0b_1x3/conv"] == "1x3 conv, 3"
    assert texts["mixed/Branch_2/avg_pool"] == "avg pool 3x3"
    assert texts["mixed/concat"] == "concat, 12"
    assert (texts["fc"], texts["image"]) == ("fc 5", "image 8x8x3")


def test_activations_stand_where_they_are_computed():
    network = models.create("wide_resnet", num_classes=7, depth=10, width=2, dropout=0.3)
    graph = program.trace(network, SMALL)
    names, way = ["conv2/block1/conv1"], []
    while names[0] != "conv2/block1/conv2":
        names = graph.targets(names[0])
        way.append(graph.nodes[names[0]].text)
    assert way[:-1] == ["batch norm", "ReLU", "dropout"]


def test_every_block_of_a_scanned_stage_is_there_by_its_own_name():
    network = models.create("cifar_resnet", num_classes=7, depth=29, block="single")
    graph = program.trace(network, SMALL)
    assert [f"conv4/block{number}/conv1" in graph.nodes for number in range(1, 11)] == 9 * [
        True
    ] + [False]


def test_a_shortcut_without_parameters_tells_what_it_does():
    network = models.create("cifar_resnet", num_classes=7, depth=8, shortcut="A")
    graph = levels.at_level(program.trace(network, SMALL), "layer")
    assert graph.edges["conv2/block1/add", "conv3/block1/add"] == ("/2", "zeros")
    assert graph.edges["conv1", "conv2/block1/add"] == ()


def test_batch_norm_of_groups_takes_whole_groups():
    network = models.create("wide_resnet", num_classes=7, depth=10, width=1, bn_group_size=32)
    assert "conv4/block1/add" in program.trace(network, SMALL).nodes


def test_images_that_are_too_small_are_an_error_of_one_line():
    with pytest.raises(UserError, match="the smallest are 17x17"):
        program.trace(models.create("squeezenet", num_classes=7, version="1.1"), (8, 8, 3))
