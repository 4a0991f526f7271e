"""The graph of a network is that of its program, of any family."""

import flax.linen as nn
import pytest
from jax import lax

from cnn_jax import models
from cnn_jax.analysis.draw import levels, program
from cnn_jax.analysis.draw.graph import reaching
from cnn_jax.errors import UserError
from tests.analysis.draw import reading
from tests.analysis.draw.reading import NETWORKS, SMALL, traced


@pytest.mark.parametrize("key", NETWORKS)
def test_nodes_and_edges_are_those_of_the_traced_program(key):
    graph = levels.at_level(traced(key), "layer")
    assert reading.numbered(graph) == reading.program(*reading.network(key))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,side,options",
    [
        ("vgg", 224, {"depth": 19}),
        ("resnet", 224, {"depth": 34, "residual": False}),
        ("resnet", 224, {"depth": 34}),
        ("resnet", 224, {"depth": 50}),
        ("wide_resnet", 32, {"depth": 28, "dropout": 0.3}),
        ("inception_v3", 299, {}),
        ("squeezenet", 227, {"bypass": "complex"}),
        ("googlenet", 224, {}),
        ("bn_inception", 224, {}),
    ],
)
def test_the_papers_networks_are_their_traced_programs(name, side, options):
    model, shape = models.create(name, num_classes=1000, **options), (side, side, 3)
    graph = reaching(levels.at_level(program.trace(model, shape), "layer"), ["logits"])
    assert reading.numbered(graph) == reading.program(model, shape)


def test_a_module_of_no_family_is_read_in_the_same_way():
    graph = reaching(levels.at_level(traced(None), "layer"), ["logits"])
    assert reading.numbered(graph) == reading.program(reading.Branched(), (8, 8, 3))


def test_an_auxiliary_head_ends_in_logits_of_its_own():
    graph = traced(None)
    (last,) = graph.sources("aux_logits/side/logits")
    assert last == "aux" and graph.sources("aux") == ["global_avg_pool"]
    assert graph.sources("global_avg_pool") == ["mixed/concat"]


def test_nodes_tell_kernels_strides_channels_and_sizes():
    texts = {
        name: node.text.replace("\N{MULTIPLICATION SIGN}", "x")
        for name, node in traced(None).nodes.items()
    }
    assert texts["reduce"] == "3x3 conv, 8, /2" and traced(None).nodes["reduce"].shape == (4, 4, 8)
    assert texts["mixed/Branch_1/Conv2d_0b_1x3/conv"] == "1x3 conv, 3"
    assert texts["mixed/Branch_2/avg_pool"] == "avg pool 3x3"
    assert texts["mixed/concat"] == "concat, 12"
    assert (texts["fc"], texts["image"]) == ("fc 5", "image 8x8x3")


def test_activations_stand_where_they_are_computed():
    graph, names, texts = traced("pre-activation"), ["conv2/block1/conv1"], []
    while names != ["conv2/block1/conv2"]:
        names = graph.targets(names[0])
        texts.append(graph.nodes[names[0]].text)
    assert texts[:-1] == ["batch norm", "ReLU", "dropout"]


def test_every_block_of_a_scanned_stage_is_there_by_its_own_name():
    blocks = [name for name in traced("scanned stages").nodes if name.startswith("conv4/")]
    assert {name.split("/")[1] for name in blocks} == {f"block{number}" for number in range(1, 10)}


def test_a_shortcut_without_parameters_tells_what_it_does():
    edges = levels.at_level(traced("shortcut A"), "layer").edges
    assert edges["conv2/block1/add", "conv3/block1/add"] == ("/2", "zeros")
    assert edges["conv1", "conv2/block1/add"] == ()


def test_batch_norm_of_groups_takes_whole_groups():
    network = models.create("wide_resnet", num_classes=7, depth=10, width=1, bn_group_size=32)
    assert "conv4/block1/add" in program.trace(network, SMALL).nodes


def test_images_that_are_too_small_are_an_error_of_one_line():
    with pytest.raises(UserError, match="the smallest are 17x17"):
        program.trace(models.create("squeezenet", num_classes=7, version="1.1"), (8, 8, 3))


class Choosing(nn.Module):
    """A network that has a condition in its program."""

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Dense(4, name="first")(images.mean((1, 2)))
        y = lax.cond(x.sum() > 0, lambda x, y: (x * y) ** 2 + 1, lambda x, y: x, x, nn.relu(x))
        return nn.Dense(2, name="last")(y)


def test_of_a_condition_the_longest_branch_is_read():
    graph = levels.at_level(program.trace(Choosing(), (4, 4, 3)), "layer")
    assert list(graph.nodes) == ["image", "global_avg_pool", "first", "last", "logits"]
