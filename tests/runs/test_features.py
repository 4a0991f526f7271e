"""A run gives activations, embeddings and gradients of images."""

import numpy as np
import pytest

import cnn_jax
from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.models.inside import activations
from cnn_jax.runs import features
from tests.analysis.explain.making import IMAGES, small_run


@pytest.fixture(scope="module")
def run():
    return small_run()


def test_features_are_the_activations_by_layer_in_the_order_of_the_network(run):
    found = run.features(IMAGES, ["bn1/relu", "conv1"])
    assert list(found) == ["conv1", "bn1/relu"]
    np.testing.assert_allclose(found["bn1/relu"], run.by_hand()[0], atol=1e-4)
    np.testing.assert_allclose(
        np.maximum(found["conv1"] / np.sqrt(1 + 1e-5), 0), found["bn1/relu"], atol=1e-4
    )


def test_many_images_are_looked_at_in_several_batches(run, monkeypatch):
    classes = [0, 1, 2, 0]
    vectors, gradients = run.embed(IMAGES), run.gradients(IMAGES, classes=classes)["image"]
    monkeypatch.setattr(features, "PIXELS", 2 * 64)
    assert len(list(features.batches(run, IMAGES, "embedding", "last"))) == 2
    np.testing.assert_allclose(run.embed(IMAGES), vectors, atol=1e-6)
    found = run.gradients(IMAGES, classes=classes)["image"]
    np.testing.assert_allclose(found, gradients, atol=1e-6)


def test_embeddings_and_the_classifier_give_the_logits(run):
    last = run.variables()["params"]["fc"]
    logits = run.embed(IMAGES) @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(logits, run.logits(IMAGES), atol=1e-5)


def test_gradients_tell_how_the_logit_changes(run):
    found = run.gradients(IMAGES, ["image", "bn1/relu"], classes=[0, 1, 2, 0])
    kernel = run.variables()["params"]["fc"]["kernel"]
    np.testing.assert_allclose(found["bn1/relu"][1, 2, 3], kernel[:, 1] / 16, rtol=1e-5)
    changed = IMAGES.astype(np.float32)
    changed[1] += 0.01 * found["image"][1] / np.abs(found["image"][1]).max()
    before, after = (
        run.logits(list(images))[1, 1] for images in (IMAGES.astype(np.float32), changed)
    )
    step = (found["image"][1] ** 2).sum() * 0.01 / np.abs(found["image"][1]).max()
    assert after - before == pytest.approx(step, rel=0.05)


def test_by_default_gradients_are_of_the_likeliest_class(run):
    likeliest = run.predict(IMAGES).argmax(1)
    expected = run.gradients(IMAGES, classes=likeliest)["image"]
    np.testing.assert_array_equal(run.gradients(IMAGES)["image"], expected)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda run: run.features(IMAGES, ["conv7"]), "no layer 'conv7'; the nearest are conv1, "),
        (lambda run: run.features(IMAGES[..., :1], ["conv1"]), "features takes uint8 images .*3"),
        (lambda run: run.features(IMAGES / 255, ["conv1"]), "not float64 images"),
        (lambda run: run.features(IMAGES[0], ["conv1"]), r"not uint8 images \[8, 3\]"),
        (lambda run: run.features([], ["conv1"]), "no images"),
        (lambda run: run.gradients(IMAGES, ["embedding"]), "no layer 'embedding'"),
        (lambda run: run.gradients(IMAGES, classes=[0]), "one for each of 4 images"),
        (lambda run: run.gradients(IMAGES, classes=[0, 1, 2, 3]), "the run has 0 to 2"),
        (lambda run: run.gradients(IMAGES, classes=[0.5] * 4), "whole numbers"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_one_line(run, ask, message):
    with pytest.raises(UserError, match=message) as caught:
        ask(run)
    assert "\n" not in str(caught.value)


def test_maps_of_several_sizes_have_no_array():
    parts = [np.zeros((1, 2, 3, 4)), np.zeros((1, 5, 3, 4))]
    with pytest.raises(UserError, match="several sizes, and conv1 maps of 2x3 and 5x3"):
        features.joined("conv1", parts)


def test_a_run_without_checkpoint_has_no_features(dense_run, tmp_path):
    for name in ("config.json", "dataset.json", "preprocessing.npz"):
        (tmp_path / name).write_bytes((dense_run / name).read_bytes())
    run = cnn_jax.load_run(tmp_path)
    with pytest.raises(UserError, match="has no checkpoint yet"):
        run.embed(np.zeros((1, 8, 8, 1), np.uint8))


def test_layers_are_those_of_the_summary():
    from cnn_jax.analysis.summary import layers_of

    model, shape = models.create("cifar_resnet", num_classes=3, depth=8), (8, 8, 3)
    rows = {row.name: row.output_shape for row in layers_of(model, shape)}
    known = activations.shapes(activations.each_block(model, {})[0], shape)
    assert {name: known[name] for name in rows} == rows


def test_what_is_told_by_layer_stands_in_the_order_of_the_network(run):
    assert list(features.in_order(run, {"aux": 1, "fc": 2, "conv1": 3})) == ["conv1", "fc", "aux"]
