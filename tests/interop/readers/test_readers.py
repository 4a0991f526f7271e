"""Files of other programs give their arrays by name, in PyTorch's order or in Keras's."""

import json

import numpy as np
import pytest

from cnn_jax.errors import UserError
from cnn_jax.interop import formats
from cnn_jax.interop.readers import keras, protobuf
from tests.interop.readers import writing

KERNEL = np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1)
BIAS = np.arange(4, dtype=np.float32)
LINEAR = np.arange(6, dtype=np.float32).reshape(2, 3)


def same(found, **expected):
    expected = {name.replace("__", "."): array for name, array in expected.items()}
    assert found.keys() == expected.keys()
    assert all((found[name] == array).all() for name, array in expected.items())


@pytest.mark.parametrize("raw", [True, False])
def test_onnx_arrays_are_named_by_their_own_names_or_by_those_of_their_operators(raw, tmp_path):
    nodes = [
        ("/layer1/layer1.0/conv1/Conv", "Conv", {"onnx::Conv_1": KERNEL, "onnx::Conv_2": BIAS}, {}),
        ("n", "Conv", {"layer1.1.conv1.weight": KERNEL, "conv1_bias": BIAS}, {}),
        ("m", "Conv", {"gpu_0/conv1_w_0": KERNEL, "gpu_0/conv1_b_0": BIAS}, {}),
        ("/fc/Gemm", "Gemm", {"fc.weight": LINEAR}, {"transB": 1}),
        ("/other/MatMul", "MatMul", {"onnx::MatMul_3": LINEAR}, {}),
    ]
    (tmp_path / "a.onnx").write_bytes(writing.onnx(nodes, raw))
    found = formats.by_name(tmp_path / "a.onnx")
    convolutions = {f"{layer}.weight": KERNEL for layer in ("layer1.0.conv1", "layer1.1.conv1")}
    biases = {f"{layer}.bias": BIAS for layer in ("layer1.0.conv1", "layer1.1.conv1", "conv1")}
    linear = {"fc.weight": LINEAR, "other.weight": LINEAR.T}
    same(found, **convolutions, **biases, **linear, **{"conv1.weight": KERNEL})


@pytest.mark.parametrize("old", [True, False])
def test_caffes_batch_norms_are_divided_by_their_factor(old, tmp_path):
    layers = [("conv1", "Convolution", [KERNEL, BIAS]), ("fc", "InnerProduct", [LINEAR])]
    if not old:
        layers.append(("bn_conv1", "BatchNorm", [2 * BIAS, 2 * BIAS, np.float32([2])]))
        layers.append(("scale_conv1", "Scale", [BIAS, BIAS]))
    (tmp_path / "a.caffemodel").write_bytes(writing.caffe(layers, old=old))
    norms = {f"bn_conv1.running_{kind}": BIAS for kind in ("mean", "var")}
    norms |= {"scale_conv1.weight": BIAS, "scale_conv1.bias": BIAS}
    found = formats.by_name(tmp_path / "a.caffemodel")
    same(
        found, conv1__weight=KERNEL, conv1__bias=BIAS, fc__weight=LINEAR, **norms if not old else {}
    )


def test_caffenet_is_refused(tmp_path):
    (tmp_path / "a.caffemodel").write_bytes(writing.caffe([("a", "b", [BIAS])], "CaffeNet"))
    with pytest.raises(UserError, match="it is CaffeNet"):
        formats.by_name(tmp_path / "a.caffemodel")


def test_layers_that_keras_counted_are_counted_from_0(tmp_path):
    arrays = {f"conv2d_{i}/kernel": KERNEL + i for i in (95, 94, 100)} | {"dense_1/bias": BIAS}
    found = keras.renumbered(arrays)
    kernels = {"conv2d_0/kernel": KERNEL + 94, "conv2d_1/kernel": KERNEL + 95}
    same(found, **kernels, **{"conv2d_2/kernel": KERNEL + 100, "predictions/bias": BIAS})
    several = keras.renumbered(arrays | {"dense_2/bias": BIAS})
    assert not any(name.startswith(("dense", "predictions")) for name in several)


@pytest.mark.parametrize("write", [writing.keras, writing.keras_archive])
def test_keras_3_tells_arrays_by_how_many_a_layer_has(write, tmp_path):
    pytest.importorskip("h5py")
    content = write({"conv": [KERNEL, BIAS], "bn": [BIAS] * 4, "plain_bn": [BIAS] * 3})
    (tmp_path / "a.keras").write_bytes(content)
    norm = ("gamma", "beta", "moving_mean", "moving_variance")
    expected = {f"bn/{kind}": BIAS for kind in norm}
    expected |= {f"plain_bn/{kind}": BIAS for kind in norm[1:]}
    same(
        formats.by_name(tmp_path / "a.keras"),
        **{"conv/kernel": KERNEL, "conv/bias": BIAS},
        **expected,
    )


def test_tensorflow_js_in_8_bits_is_within_half_a_step(tmp_path):
    writing.tfjs(tmp_path, {"conv/kernel": KERNEL, "conv/bias": BIAS}, {"conv/kernel"})
    found = formats.by_name(tmp_path / "model.json")
    assert (found["conv/bias"] == BIAS).all()
    assert np.abs(found["conv/kernel"] - KERNEL).max() <= np.ptp(KERNEL) / 255 / 2 * 1.01


def test_what_tensorflow_js_lists_outside_of_its_folder_is_not_read(tmp_path):
    writing.tfjs(tmp_path, {"a/kernel": KERNEL})
    content = json.loads((tmp_path / "model.json").read_text())
    content["weightsManifest"][0]["paths"] = ["../secret"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is no file beside it"):
        formats.by_name(tmp_path / "model.json")


def test_both_formats_of_tensorflow_1_are_read_without_what_training_keeps(tmp_path):
    arrays = {"net/conv/weights": KERNEL, "net/conv/weights/Momentum": KERNEL, "global_step": BIAS}
    (tmp_path / "old.ckpt").write_bytes(writing.tf_slices(arrays))
    writing.tf_bundle(tmp_path, arrays)
    for name in ("old.ckpt", "a.index"):
        same(formats.by_name(tmp_path / name), **{"net/conv/weights": KERNEL})
    (tmp_path / "a.data-00000-of-00001").unlink()
    with pytest.raises(UserError, match="which is not beside it"):
        formats.by_name(tmp_path / "a.index")


def test_a_message_that_does_not_end_is_refused():
    for content in (b"\xff" * 12, writing.field(1, "text")[:-1], b"\x0b"):
        with pytest.raises(ValueError, match="does not end"):
            list(protobuf.fields(memoryview(content)))


@pytest.mark.parametrize("way", ["external", "virtual", "soft link", "external link"])
def test_hdf5_that_takes_its_values_from_elsewhere_is_refused(way, tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "private").write_bytes(BIAS.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = BIAS
    with h5py.File(tmp_path / "a.h5", "w") as file:
        layer = file.create_group("fc")
        if way == "external":
            place = [(str(tmp_path / "private"), 0, BIAS.nbytes)]
            layer.create_dataset("kernel", BIAS.shape, "f4", external=place)
        elif way == "virtual":
            mapped = h5py.VirtualLayout(BIAS.shape, "f4")
            mapped[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", BIAS.shape)
            layer.create_virtual_dataset("kernel", mapped)
        elif way == "soft link":
            layer["kernel"] = h5py.SoftLink("/elsewhere")
        else:
            layer["kernel"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
    with pytest.raises(UserError, match="is in another file|is a link to somewhere else"):
        formats.by_name(tmp_path / "a.h5")
