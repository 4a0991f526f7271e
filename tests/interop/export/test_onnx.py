"""What `export --to=onnx` writes gives our logits in onnxruntime, and can be read again."""

import json
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime

from cnn_jax.commands.weights.export import network as opened
from cnn_jax.errors import UserError
from cnn_jax.interop.export import onnx as writer
from cnn_jax.runs import pretrained
from tests.conftest import ROOT
from tests.interop.export import cases

CIFAR, GRAY = cases.QUICK[2], cases.QUICK[4]


def run(file, images):
    """The logits of a file in onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def difference(case, folder):
    """The largest difference of the logits, relative to the largest logit; and the file."""
    network, images = cases.network(case)
    writer.write(network, folder / "network.onnx")
    theirs = run(folder / "network.onnx", images)
    ours = cases.logits(network, images)
    return np.abs(theirs - ours).max() / np.abs(ours).max(), folder / "network.onnx"


@pytest.mark.parametrize("case", cases.QUICK, ids=str)
def test_logits_in_onnxruntime_are_ours(case, tmp_path):
    assert difference(case, tmp_path)[0] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("case", cases.WHOLE, ids=str)
def test_logits_of_whole_networks_in_onnxruntime_are_ours(case, tmp_path):
    assert difference(case, tmp_path)[0] < 1e-5


def test_the_docs_have_a_row_for_each():
    text = (ROOT / "docs/export.md").read_text()
    assert not [case for case in cases.WHOLE if f"\n| {case} |" not in text]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network, three images, and its file."""
    network, images = cases.network(CIFAR)
    file = tmp_path_factory.mktemp("onnx") / "network.onnx"
    writer.write(network, file)
    return network, images, file


def test_a_network_is_transposed_once_and_its_layers_are_those_of_onnx(exported):
    nodes = Counter(node.op_type for node in onnx.load(exported[2]).graph.node)
    assert nodes["Transpose"] == 1
    assert nodes["Conv"] == nodes["BatchNormalization"] == nodes["Relu"] == 7
    assert nodes["Gemm"] == 1 and nodes["Add"] == 3


def test_images_come_in_batches_of_any_size(exported):
    _, images, file = exported
    one_by_one = np.concatenate([run(file, image[None]) for image in images])
    np.testing.assert_allclose(run(file, images), one_by_one, rtol=1e-4)


def test_our_arrays_have_their_names(exported):
    network, _, file = exported
    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in onnx.load(file).graph.initializer}
    conv1 = network.variables["params"]["conv1"]["kernel"]
    assert np.array_equal(arrays["params/conv1/kernel"], conv1.transpose(3, 2, 0, 1))
    assert np.array_equal(
        arrays["batch_stats/bn1/mean"], network.variables["batch_stats"]["bn1"]["mean"]
    )


def test_the_file_and_the_json_beside_it_tell_images_and_classes(exported):
    network, _, file = exported
    stated = {p.key: json.loads(p.value) for p in onnx.load(file).metadata_props}
    assert stated == json.loads(file.with_suffix(".json").read_text())
    assert stated["class_names"] == list(network.class_names)
    assert stated["input"] == {"name": "images", "dtype": "uint8", "shape": ["batch", 16, 16, 3]}
    assert stated["preprocessing"]["channels"] == [2, 1, 0]


@pytest.mark.parametrize("raw", [False, True])
def test_a_file_that_is_read_and_written_again_has_the_same_bytes(raw, tmp_path):
    network, _ = cases.network(GRAY)
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    writer.write(network, first, raw=raw)
    writer.write(opened(pretrained.load(str(first)), str(first)), second, raw=raw)
    assert first.read_bytes() == second.read_bytes()


def test_raw_files_take_what_the_network_takes(exported, tmp_path):
    network, images, file = exported
    writer.write(network, tmp_path / "raw.onnx", raw=True)
    prepared = np.asarray(network.preprocessing(images))
    np.testing.assert_allclose(run(tmp_path / "raw.onnx", prepared), run(file, images), rtol=1e-4)


def whitening():
    """Statistics of 8x8 gray images, as `preprocess.fit_zca` makes them."""
    rng = np.random.default_rng(1)
    mean, matrix = (rng.standard_normal(s).astype(np.float32) for s in ((8, 8, 1), (64, 64)))
    return {"mean": mean, "std": np.ones(1, np.float32), "whitening": matrix, "channels": None}


@pytest.mark.parametrize("kind", ["pixel", "zca"])
def test_means_of_pixels_and_whitening_are_in_the_file(kind, tmp_path):
    pixels = np.random.default_rng(1).uniform(100, 130, (8, 8, 1)).astype(np.float32)
    network, images = cases.network(GRAY, **whitening() if kind == "zca" else {"mean": pixels})
    writer.write(network, tmp_path / "network.onnx")
    ours = cases.logits(network, images)
    theirs = run(tmp_path / "network.onnx", images)
    assert np.abs(theirs - ours).max() < 1e-5 * np.abs(ours).max()
    again = pretrained.load(str(tmp_path / "network.onnx")).preprocessing
    assert np.array_equal(again.mean, network.preprocessing.mean)
    assert kind == "pixel" or np.array_equal(again.whitening, network.preprocessing.whitening)


def test_whitening_cannot_be_left_to_others(tmp_path):
    network, _ = cases.network(GRAY, **whitening())
    with pytest.raises(UserError, match="the matrix of ZCA whitening: --to=onnx"):
        writer.write(network, tmp_path / "network.onnx", raw=True)


def test_a_file_that_describes_another_network_is_one_line(exported, tmp_path):
    model = onnx.load(exported[2])
    (about,) = (p for p in model.metadata_props if p.key == "model")
    about.value = about.value.replace('"depth": 8', '"depth": 14')
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="other weights than its network, cifar_resnet"):
        pretrained.load(str(tmp_path / "other.onnx"))
