"""GoogLeNet against Table 1 and torchvision's counts."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import errors, models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.interop import torchvision
from cnn_jax.interop.sources import names_googlenet
from cnn_jax.models import googlenet, pooling
from cnn_jax.models.cpu.xla import eval_shape
from experiments.googlenet import published
from tests.models.networks import forward, shapes_at

VARIANTS = ["paper", "torchvision"]


@functools.cache
def counted(**options):
    return layers_of(models.create("googlenet", num_classes=1000, **options), (224, 224, 3))


def main(found) -> list:
    return [layer for layer in found if not layer.name.startswith("auxiliary")]


def parameters(found) -> int:
    return sum(layer.parameters for layer in found)


def modules(kinds, **options) -> dict:
    """Modules of these kinds in one forward pass: path -> (module, output shape)."""
    return {path: call for path, call in called(**options).items() if isinstance(call[0], kinds)}


@functools.cache
def called(**options) -> dict:
    seen = {}

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if context.method_name == "__call__":
            seen["/".join(context.module.path)] = context.module, output.shape[1:]
        return output

    with nn.intercept_methods(note):
        shapes_at.__wrapped__("googlenet", 224, **options)
    return seen


def test_paper_has_the_parameters_of_the_caffe_model():
    assert parameters(main(counted())) == published.PARAMETERS


def test_torchvision_variant_has_its_parameters_and_multiply_adds():
    found = main(counted(variant="torchvision"))
    assert parameters(found) == published.TORCHVISION["parameters"]
    billions = sum(layer.multiply_adds for layer in found) / 1e9
    assert round(billions, 3) == published.TORCHVISION["billion_multiply_adds"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_row_of_table_1_has_its_output_size(variant):
    kinds = (googlenet.ConvUnit, googlenet.Inception, nn.Dense)
    seen = modules(kinds, variant=variant)
    expected = {name: row["output"] for name, row in published.TABLE_1.items()}
    expected["linear"] = (10,)
    assert {name: seen[name][1] for name in expected} == expected


@pytest.mark.parametrize(
    "name", [n for n in published.TABLE_1 if n not in ("conv1", "inception_5a")]
)
def test_rows_of_table_1_have_their_multiply_adds(name):
    row = published.TABLE_1[name]
    of_row = {"conv2": ("conv2_reduce", "conv2")}.get(name, (name,))
    found = [layer for layer in counted() if layer.name.split("/")[0] in of_row]
    millions = sum(layer.multiply_adds for layer in found) / 1e6
    assert abs(millions - row["ops"]) < 1  # printed without decimals, some rounded down


def test_paper_has_22_layers_with_parameters_in_a_row():
    found = main(counted())
    modules_of_two = {layer.name.split("/")[0] for layer in found if "inception" in layer.name}
    others = [layer for layer in found if "inception" not in layer.name]
    assert 2 * len(modules_of_two) + len(others) == published.LAYERS_WITH_PARAMETERS


def test_paper_has_biases_5x5_and_no_batch_norm_and_torchvision_the_opposite():
    paper, torchvision = counted(), counted(variant="torchvision")
    assert not [layer for layer in paper if layer.kind == "BatchNorm"]
    kernels = {layer.name: layer.kernel_shape[:2] for layer in paper}
    assert kernels["inception_3a/5x5/conv"] == (5, 5)
    kernels = {layer.name: layer.kernel_shape[:2] for layer in torchvision}
    assert kernels["inception_3a/5x5/conv"] == (3, 3)
    convolutions = [layer for layer in torchvision if layer.kind == "Conv"]
    norms = [layer for layer in torchvision if layer.kind == "BatchNorm"]
    assert len(norms) == len(convolutions)


@pytest.mark.parametrize(("variant", "count"), [("paper", 2), ("torchvision", 0)])
def test_response_normalization_is_in_the_paper_only(variant, count, monkeypatch):
    found = []

    def spy(x, *settings):
        found.append((x.shape[1:], settings))
        return x

    monkeypatch.setattr(pooling, "local_response_norm", spy)
    shapes_at.__wrapped__("googlenet", 224, variant=variant)
    settings = (5, 1e-4, 0.75, 1.0)
    assert found == [((56, 56, 64), settings), ((56, 56, 192), settings)][:count]


@pytest.mark.parametrize("variant", VARIANTS)
def test_auxiliary_logits_are_sown_in_training_only(variant):
    model, variables, image = shapes_at("googlenet", 224, variant=variant)
    logits, state = forward(model, variables, image, train=True)
    assert logits.shape == (2, 10)
    assert {k: v[0].shape for k, v in state["aux_logits"].items()} == {"4a": (2, 10), "4d": (2, 10)}
    _, state = forward(model, variables, image, train=False)
    assert "aux_logits" not in state
    model, variables, image = shapes_at("googlenet", 224, variant=variant, auxiliary=False)
    _, state = forward(model, variables, image, train=True)
    assert "aux_logits" not in state
    assert not [name for name in variables["params"] if name.startswith("auxiliary")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_of_auxiliary_classifiers_do_not_depend_on_the_size_of_the_images(variant):
    assert (
        shapes_at("googlenet", 48, variant=variant)[1]
        == shapes_at("googlenet", 300, variant=variant)[1]
    )


@pytest.mark.parametrize(("variant", "smallest"), [("paper", 31), ("torchvision", 15)])
def test_images_that_are_too_small_are_refused_with_the_smallest_size(variant, smallest):
    model, variables, image = shapes_at("googlenet", smallest, variant=variant)
    assert forward(model, variables, image, train=False)[0].shape == (2, 10)
    with pytest.raises(errors.UserError, match=f"the smallest are {smallest}x{smallest}"):
        shapes_at("googlenet", smallest - 1, variant=variant)


def test_auxiliary_classifiers_of_the_paper_take_images_of_223_to_270_pixels_in_training():
    for size, fits in [(222, False), (223, True), (270, True), (271, False)]:
        model, variables, image = shapes_at("googlenet", size)
        if fits:
            forward(model, variables, image, train=True)
        else:
            with pytest.raises(errors.UserError, match="223 to 270"):
                forward(model, variables, image, train=True)


def test_auxiliary_classifiers_of_torchvision_take_any_size_in_training():
    model, variables, image = shapes_at("googlenet", 64, variant="torchvision")
    assert len(forward(model, variables, image, train=True)[1]["aux_logits"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "caffe"}, "paper, torchvision"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"auxiliary_dropout": -0.1}, "auxiliary_dropout -0.1"),
    ],
)
def test_values_it_cannot_take_are_refused(options, message):
    with pytest.raises(errors.UserError, match=message):
        models.create("googlenet", num_classes=10, **options)


def test_paper_starts_from_the_values_of_the_caffe_model():
    key, shape = jax.random.key(0), (5, 5, 32, 64)
    bound = (3 / (5 * 5 * 32)) ** 0.5
    classifiers = {"linear", "auxiliary_4a/classifier", "auxiliary_4d/classifier"}
    for path, (module, _) in modules((nn.Conv, nn.Dense)).items():
        sample = np.asarray(module.kernel_init(key, shape))
        assert sample.std() == pytest.approx(bound / 3**0.5, rel=0.02), path
        assert bound * 0.99 < abs(sample).max() <= bound, path
        bias = module.bias_init(key, (3,), jnp.float32)
        np.testing.assert_allclose(bias, 0.0 if path in classifiers else 0.2)


def test_torchvision_starts_from_a_deviation_of_a_hundredth():
    for path, (module, _) in modules((nn.Conv, nn.Dense), variant="torchvision").items():
        sample = np.asarray(module.kernel_init(jax.random.key(0), (100, 200)))
        assert sample.std() == pytest.approx(0.01, rel=0.02), path


def test_logits_are_float32_in_bfloat16_too():
    model, variables, image = shapes_at("googlenet", 64, dtype="bfloat16", variant="torchvision")
    assert forward(model, variables, image, train=False)[0].dtype == jnp.float32


def test_torchvision_has_a_name_of_its_own_for_every_layer():
    module = torchvision.module("googlenet")
    names = names_googlenet.torch_names(module)
    assert set(names) == {layer.name for layer in counted(variant="torchvision")}
    assert len(set(names.values())) == len(names)
    assert names["auxiliary_4d/fc"] == "aux2.fc1"
    assert names["inception_5b/pool_proj/bn"] == "inception5b.branch4.1.bn"


@pytest.mark.parametrize("variant,side", [("paper", 14), ("paper", 16), ("torchvision", 3)])
def test_an_auxiliary_classifier_flattens_each_map_to_one_row(variant, side):
    conv, dense = models.create("googlenet", num_classes=10, variant=variant)._layers()
    head = googlenet.AuxiliaryClassifier(5, variant, 0.7, conv, dense)
    maps = jax.ShapeDtypeStruct((3, side, side, 8), jnp.float32)
    logits, variables = eval_shape(
        lambda x: head.init_with_output(jax.random.key(0), x, False), maps
    )
    params = variables["params"]
    assert logits.shape == (3, 5) and params["fc"]["kernel"].shape == (128 * 4 * 4, 1024)
