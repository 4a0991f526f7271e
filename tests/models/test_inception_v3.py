"""Inception-v3 against the paper's tables, the released network and torchvision's counts."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import errors, models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.interop import torchvision
from cnn_jax.interop.sources import names_inception_v3
from cnn_jax.models import inception_blocks, layers, pooling
from experiments.inception_v3 import published
from tests.models.networks import forward, shapes_at

CUT = 0.8796  # deviation of a standard normal distribution that is cut at +-2


def traced(size: int = 299, num_classes: int = 1000, **options):
    """One forward pass: the layers, and all calls as path -> (module, input, output shape)."""
    return traced_at(models.create("inception_v3", num_classes=num_classes, **options), size)


@functools.cache
def traced_at(model, size: int):
    seen = {}

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if context.method_name == "__call__":
            path = "/".join(context.module.path)
            seen[path] = (context.module, arguments[0].shape[1:], output.shape[1:])
        return output

    with nn.intercept_methods(note):
        return layers_of(model, (size, size, 3)), seen


def counted(**options) -> list:
    return traced(**options)[0]


def calls(kind, **options) -> dict:
    """Calls of modules of this kind: path -> (module, input shape, output shape)."""
    return {p: call for p, call in traced(**options)[1].items() if isinstance(call[0], kind)}


def parameters(found) -> int:
    return sum(layer.parameters for layer in found)


def main(found) -> list:
    return [layer for layer in found if not layer.name.startswith("AuxLogits")]


def auxiliary(found) -> list:
    return [layer for layer in found if layer.name.startswith("AuxLogits")]


def multiply_adds(**options) -> int:
    return sum(layer.multiply_adds for layer in main(counted(**options)))


def test_parameters_with_gamma_are_those_of_torchvision():
    found = counted(bn_scale=True)
    assert parameters(main(found)) == published.PARAMETERS["main, gamma, 1000 classes"]
    assert parameters(auxiliary(found)) == published.PARAMETERS["auxiliary, gamma, 1000 classes"]
    assert parameters(found) == published.RELEASED_WEIGHTS["torchvision"]["parameters"]


def test_parameters_without_gamma_are_those_of_tensorflow():
    assert parameters(main(counted())) == published.PARAMETERS["main, 1000 classes"]
    both = parameters(counted(num_classes=1001))
    assert both == published.PARAMETERS["main and auxiliary, 1001 classes"]


def test_moving_averages_and_parameters_together_are_those_of_keras():
    found = main(counted())
    channels = parameters(layer for layer in found if layer.kind == "BatchNorm")  # beta only
    assert channels == published.PARAMETERS["batch-norm channels of main"]
    total = published.PARAMETERS["main and moving averages, 1000 classes"]
    assert parameters(found) + 2 * channels == total


def test_multiply_adds_are_those_of_torchvision():
    printed = published.RELEASED_WEIGHTS["torchvision"]["billion_multiply_adds"]
    assert round(multiply_adds() / 1e9, 3) == printed


def test_every_end_point_of_the_released_network_has_its_size():
    seen = calls((inception_blocks.ConvUnit, inception_blocks.Mixed))
    outputs = {path: output for path, (_, _, output) in seen.items()}
    inputs = {path: before for path, (_, before, _) in seen.items()}
    outputs |= {"MaxPool_3a": inputs["Conv2d_3b"], "MaxPool_5a": inputs["Mixed_5b"]}
    assert {name: outputs[name] for name in published.END_POINTS} == published.END_POINTS


def test_printed_table_1_has_its_input_sizes_and_numbers_of_modules():
    seen = calls((inception_blocks.ConvUnit, inception_blocks.Mixed, nn.Dense), layout="table_1")
    names = ["Conv2d_1a", "Conv2d_2a", "Conv2d_2b", "MaxPool_3a", "Conv2d_3b", "Conv2d_4a"]
    names += ["Conv2d_5a", "Mixed_5b", "Mixed_6b", "Mixed_7b"]
    inputs = {name: seen[name][1] for name in names if name != "MaxPool_3a"}
    inputs["MaxPool_3a"] = seen["Conv2d_2b"][2]
    printed = published.TABLE_1
    # The grid reductions stand between the rows: the last row of modules begins at their output.
    assert [inputs[name] for name in names] == [row["input"] for row in printed[:10]]
    assert seen["Mixed_7c"][2] == printed[10]["input"]
    assert (1, 1, *seen["fc"][1]) == printed[11]["input"]
    for row, stage, reductions in zip(printed[7:10], "567", [0, 1, 1], strict=True):
        modules = [name for name in seen if name.startswith(f"Mixed_{stage}") and "/" not in name]
        assert len(modules) - reductions == row["count"]


def test_printed_table_1_has_no_5x5_convolution_and_the_released_network_one_per_35x35_module():
    def fives(layout):
        return [
            layer.name.split("/")[0]
            for layer in main(counted(layout=layout))
            if layer.kernel_shape[:2] == (5, 5)
        ]

    assert fives("table_1") == []
    assert fives("released") == ["Mixed_5b", "Mixed_5c", "Mixed_5d"]


@pytest.mark.parametrize("row", published.TABLE_2, ids=lambda row: str(row["receptive_field"]))
def test_receptive_fields_of_table_2_meet_the_same_grids_at_nearly_the_same_cost(row):
    field = row["receptive_field"]
    seen = calls(inception_blocks.Mixed, size=field, receptive_field=field)
    assert seen["Mixed_6e"][2] == (17, 17, 768)
    assert seen["Mixed_7c"][2] == (8, 8, 2048)
    cost = multiply_adds(size=field, receptive_field=field) / multiply_adds()
    assert 0.93 < cost <= 1
    assert (cost < 1) == (field == 79)  # "the third network is slightly cheaper"


def test_7x7_stem_meets_the_same_grid_and_is_cheaper():
    seen = calls(inception_blocks.ConvUnit, factorized_stem=False)
    assert seen["Conv2d_1a"][2] == (147, 147, 64)
    assert seen["Conv2d_3b"][1] == (73, 73, 64)
    assert "Conv2d_2b" not in seen
    assert multiply_adds(factorized_stem=False) < multiply_adds()


def test_bn_auxiliary_is_the_batch_norm_of_the_fully_connected_layer_only():
    plain, bn = (auxiliary(counted(auxiliary=choice)) for choice in ["plain", "bn"])
    norms = [[layer.name for layer in head if layer.kind == "BatchNorm"] for head in [plain, bn]]
    assert norms[0] == ["AuxLogits/Conv2d_1b_1x1/bn"]
    assert norms[1] == ["AuxLogits/Conv2d_1b_1x1/bn", "AuxLogits/Conv2d_2a_5x5/bn"]
    assert parameters(plain) == parameters(bn)  # a bias of 768 for a beta of 768


def test_without_auxiliary_head_only_the_head_is_missing():
    assert counted(auxiliary="none") == main(counted())


def test_auxiliary_logits_are_sown_in_training_only():
    model, variables, small = shapes_at("inception_v3", 75)
    image = jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32)
    logits, state = forward(model, variables, image, train=True)
    assert logits.shape == (2, 10)
    assert [leaf.shape for leaf in jax.tree.leaves(state["aux_logits"])] == [(2, 10)]
    logits, state = forward(model, variables, small, train=False)
    assert logits.shape == (2, 10)
    assert "aux_logits" not in state


def test_parameters_of_the_auxiliary_head_do_not_depend_on_the_size_of_the_images():
    assert shapes_at("inception_v3", 75)[1] == shapes_at("inception_v3", 331)[1]


@pytest.mark.parametrize(
    ("options", "smallest"),
    [({}, 75), ({"receptive_field": 151}, 39), ({"receptive_field": 79}, 21)],
)
def test_images_that_are_too_small_are_refused_with_the_smallest_size(options, smallest):
    shapes_at("inception_v3", smallest, **options)
    with pytest.raises(errors.UserError, match=f"the smallest are {smallest}x{smallest}"):
        shapes_at("inception_v3", smallest - 1, **options)


@pytest.mark.parametrize(("options", "smallest"), [({}, 299), ({"receptive_field": 151}, 151)])
def test_training_with_auxiliary_head_refuses_images_too_small_for_it(options, smallest):
    _, variables, _ = shapes_at("inception_v3", 75)
    model = models.create("inception_v3", num_classes=10, **options)
    image = jax.ShapeDtypeStruct((2, smallest - 1, smallest, 3), jnp.float32)
    with pytest.raises(errors.UserError, match=f"needs {smallest}x{smallest}"):
        forward(model, variables, image, train=True)


def test_training_without_auxiliary_head_takes_the_smallest_images():
    model, variables, image = shapes_at("inception_v3", 75)
    logits, state = forward(model.clone(auxiliary="none"), variables, image, train=True)
    assert logits.shape == (2, 10)
    assert "aux_logits" not in state


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "table1"}, "table_1"),
        ({"receptive_field": 224}, "79, 151, 299"),
        ({"auxiliary": "on"}, "none, plain, bn"),
        ({"kernel_init": "normal"}, "truncated_normal"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"bn_momentum": 1.0}, "bn_momentum 1.0"),
    ],
)
def test_values_it_cannot_take_are_refused(options, message):
    with pytest.raises(errors.UserError, match=message):
        models.create("inception_v3", num_classes=10, **options)


def test_initial_deviations_are_those_of_the_released_trainer():
    found = calls((nn.Conv, nn.Dense))
    expected = dict.fromkeys(found, 0.1) | {"fc": 0.01, "AuxLogits/fc": 0.001}
    expected["AuxLogits/Conv2d_2a_5x5/conv"] = 0.01
    for path, (module, _, _) in found.items():
        sample = np.asarray(module.kernel_init(jax.random.key(0), (100, 200)))
        assert sample.std() == pytest.approx(CUT * expected[path], rel=0.02), path
        assert abs(sample).max() <= 2 * expected[path] * 1.001, path


def test_variance_scaling_keeps_the_deviations_of_the_auxiliary_head():
    found = calls((nn.Conv, nn.Dense), kernel_init="variance_scaling")
    expected = {
        "Mixed_5b/Branch_2/Conv2d_0c_3x3/conv": (2 / 100) ** 0.5,
        "AuxLogits/Conv2d_2a_5x5/conv": CUT * 0.01,
        "AuxLogits/fc": CUT * 0.001,
    }
    for path, deviation in expected.items():
        sample = found[path][0].kernel_init(jax.random.key(0), (100, 200))
        assert float(sample.std()) == pytest.approx(deviation, rel=0.02), path


def test_options_of_the_batch_norms_reach_all_of_them():
    options = {"bn_momentum": 0.9, "bn_epsilon": 0.01, "bn_scale": True, "bn_group_size": 32}
    for path, (norm, _, _) in calls(layers.BatchNorm, **options).items():
        found = norm.momentum, norm.epsilon, norm.use_scale, norm.group_size
        assert found == (0.9, 0.01, True, 32), path


@pytest.mark.parametrize("counts", [False, True])
def test_count_include_pad_reaches_the_average_pool_of_every_module(counts, monkeypatch):
    asked = []
    original = pooling.avg_pool

    def spy(x, window, stride, padding, count_include_pad):
        asked.append((window, count_include_pad))
        return original(x, window, stride, padding, count_include_pad)

    monkeypatch.setattr(pooling, "avg_pool", spy)
    shapes_at.__wrapped__("inception_v3", 75, auxiliary="none", count_include_pad=counts)
    assert asked == [(3, counts)] * 9


def test_logits_are_float32_in_bfloat16_too():
    model, variables, image = shapes_at("inception_v3", 75)
    logits, _ = forward(model.clone(dtype="bfloat16"), variables, image, train=False)
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize("choice", ["bn", "none"])
def test_torchvision_has_a_name_of_its_own_for_every_layer(choice):
    module = torchvision.module("inception_v3").clone(auxiliary=choice)
    names = names_inception_v3.torch_names(module)
    found = counted(bn_scale=True) if choice == "bn" else main(counted(bn_scale=True))
    assert set(names) == {layer.name for layer in found}
    assert len(set(names.values())) == len(names)
    assert names["Mixed_7c/Branch_2/Conv2d_0c_3x1/bn"] == "Mixed_7c.branch3x3dbl_3b.bn"


def test_an_auxiliary_head_needs_larger_images_in_training_alone():
    table = {
        "conv": "3x3/2 V 8",
        "Mixed_7a": (("3x3/2 V 8",),),
    }  # from 7 and 35 pixels on

    def check(size, train, auxiliary="bn"):
        model = models.create("inception_v3", num_classes=10, auxiliary=auxiliary)
        model._check_size(jax.ShapeDtypeStruct((1, size, size + 1, 3), jnp.float32), table, train)

    for allowed in ((35, True), (34, False), (34, True, "none"), (7, False)):
        check(*allowed)
    with pytest.raises(errors.UserError, match="for the auxiliary head: training needs 35x35"):
        check(34, True)
    with pytest.raises(errors.UserError, match="of 6x7 are too small, the smallest are 7x7"):
        check(6, False)
