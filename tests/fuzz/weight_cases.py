"""Files of weights: PyTorch's, safetensors, NumPy's, Keras's, ONNX, Caffe's, and our own."""

import argparse
import functools
import json
import struct
import zlib

import flax.serialization
import numpy as np
import pytest
import safetensors.numpy

from cnn_jax import models
from cnn_jax.commands.weights import export
from cnn_jax.compression import archive
from cnn_jax.interop import deep_compression, formats, read, weights
from cnn_jax.interop.export import exported
from cnn_jax.interop.export import named as by_names
from cnn_jax.runs.compressed import CompressedRun, ExportedRun
from tests.fuzz.fuzzing import Case
from tests.interop.export import made
from tests.interop.readers import writing

FILE = "weights"


def arrays(seed):
    random = np.random.default_rng(seed)
    kernel = random.standard_normal((3, 3, 4, 5)).astype(np.float32)
    return {"params/conv/kernel": kernel, "params/conv/bias": np.ones(5, np.float32)}


def torch_zip(folder, seed, **options):
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(value) for name, value in arrays(seed).items()}
    beside = {"args": argparse.Namespace(rate=0.1), "epoch": 3}
    beside["optimizer"] = {"state": {0: {"momentum": torch.ones(2)}}}
    torch.save({"state_dict": state, **beside}, folder / FILE, **options)


def torch_legacy(folder, seed):
    torch_zip(folder, seed, _use_new_zipfile_serialization=False)


def npz(folder, seed, save=np.savez):
    with (folder / FILE).open("wb") as file:
        save(file, **arrays(seed))


def npz_compressed(folder, seed):
    npz(folder, seed, np.savez_compressed)


def safetensors_foreign(folder, seed):
    safetensors.numpy.save_file(arrays(seed), folder / FILE)


def safetensors_own(folder, seed):
    kernel, bias = arrays(seed).values()
    variables = {"params": {"conv": {"kernel": kernel, "bias": bias}}}
    weights.save(folder / FILE, variables, {"network": "made"})


def named(suffix, content):
    """How a file is made whose name tells what it is, and how it is read."""

    def make(folder, seed):
        (folder / f"weights{suffix}").write_bytes(content(*arrays(seed).values()))

    return make, lambda folder: formats.by_name(folder / f"weights{suffix}")


def onnx(kernel, bias):
    names = {"onnx::Conv_1": kernel, "onnx::Conv_2": bias}
    return writing.onnx([("/conv/Conv", "Conv", names, {"group": 1})])


def caffe(kernel, bias, old=False):
    return writing.caffe([("conv", "Convolution", [kernel, bias])], old=old)


def keras(kernel, bias, write=writing.keras):
    pytest.importorskip("h5py")
    return write({"conv": [kernel, bias]})


def slices(kernel, bias):
    return writing.tf_slices({"conv/weights": kernel, "conv/biases": bias})


def bundle(folder, seed):
    kernel, bias = arrays(seed).values()
    writing.tf_bundle(folder, {"conv/weights": kernel, "conv/biases": bias})


def msgpack(kernel, bias):
    tree = {"params": {"conv": {"kernel": kernel, "bias": bias}}, "step": 3}
    return flax.serialization.msgpack_serialize(tree)


def tfjs(folder, seed):
    kernel, bias = arrays(seed).values()
    writing.tfjs(folder, {"conv/kernel": kernel, "conv/bias": bias}, quantized={"conv/kernel"})


def read_tfjs(folder):
    return formats.by_name(folder / "model.json")


def squeezenet(folder, seed):
    random = np.random.default_rng(seed)
    stored = []
    for layer in deep_compression._layers():
        codebook = random.standard_normal(256).astype(np.float32)
        codebook[0] = 0
        bias = np.ones(layer.kernel_shape[-1], np.float32)
        codes, gaps = (random.integers(0, most, 9).astype(np.uint8) for most in (256, 16))
        stored.append(deep_compression.Shared(codebook, bias, codes, gaps))
    deep_compression.write(folder / FILE, stored)


def own_archive(folder, seed):
    kernel, bias = arrays(seed).values()
    coded = {"params/kernel": archive.codebook(np.round(kernel, 1)), "params/bias": bias}
    steps = archive.Steps(np.arange(-5, 7).reshape(3, 4), np.float32(0.1))
    half = {"params/half": bias.astype(np.float16)}
    archive.write(folder / FILE, {**coded, **half, "params/steps": steps}, {"num_classes": 3})


def read_archive(folder):
    found = archive.read(folder / FILE)
    return found.variables, found.about


def compressed_run(folder, seed):
    """LeNet-300-100 on images of 4 x 4 pixels in color."""
    random = np.random.default_rng(seed)
    widths = {"ip1": (48, 300), "ip2": (300, 100), "ip3": (100, 2)}
    coded = {"preprocessing/mean": np.zeros(1, np.float32), "preprocessing/std": np.float32([255])}
    for name, (inputs, outputs) in widths.items():
        kernel = random.integers(-1, 2, (inputs, outputs)).astype(np.float32)
        coded[f"params/{name}/kernel"] = archive.codebook(kernel)
        coded[f"params/{name}/bias"] = np.zeros(outputs, np.float32)
    model = models.options("lenet") | {"name": "lenet", "variant": "300-100"}
    view = {"kind": "center", "size": 4, "resize": 5, "frame": "full", "filters": ["bilinear"]}
    config = {"model": model, "view": {"evaluation": view | {"dct_scaling": False}}}
    about = {"config": config, "class_names": ["owl", "wren"], "num_classes": 2}
    archive.write(folder / FILE, coded, about | {"image_shape": [4, 4, 3]})


def exported_run(folder, seed):
    """The same as ONNX."""
    pytest.importorskip("onnx")
    compressed_run(folder, seed)
    network = export.network(CompressedRun(folder / FILE), FILE)
    exported.writer("onnx").write(network, folder / "weights.onnx")
    for file in (folder / FILE, folder / "weights.json"):
        file.unlink()


def read_run(folder, name=FILE, kind=CompressedRun):
    run = kind(folder / name)
    about = run.config.to_dict(), run.class_names, run.image_shape, run.evaluation_view
    return run.variables(), dict(vars(run.preprocessing)), about


def read_exported_run(folder):
    return read_run(folder, "weights.onnx", ExportedRun)


START = len(archive.MAGIC) + archive.CHECKSUM


def exported_weights(folder, seed):
    """A small network by names of PyTorch, which its names and shapes tell."""
    network = made.network("wide_resnet", 32, depth=10, width=1, classes=3)
    exported.writer("safetensors").write(network, folder / "a.safetensors", names="xternalz")


def hub_folder(folder, seed):
    """The same with the files of transformers beside it."""
    network = made.network("resnet", 32, depth=18, width=1 / 16, stride_in="3x3")
    arrays = by_names.by(network, "Hugging Face").arrays
    formats.write_safetensors(folder / "model.safetensors", arrays, {"format": "pt"})
    labels = {str(i): name for i, name in enumerate(("owl", "wren", "newt"))}
    config = {"model_type": "resnet", "downsample_in_bottleneck": False, "id2label": labels}
    (folder / "config.json").write_text(json.dumps(config))
    images = {"size": {"shortest_edge": 32}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(images))


def timm_folder(folder, seed):
    """The same with timm's."""
    hub_folder(folder, seed)
    (folder / "preprocessor_config.json").unlink()
    images = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.25] * 3}
    config = {"pretrained_cfg": images, "label_names": ["owl", "wren", "newt"]}
    (folder / "config.json").write_text(json.dumps(config))


def recognized(name):
    """How such a file, or a folder, is read."""

    def read_all(folder):
        found = read.trained(folder / name)
        return found.variables, (found.source, found.model, found.images, found.class_names)

    return read_all


def body(content):
    """Of our archive: all that its checksum is of."""
    return content[START:]


def with_checksum(damaged, content):
    return content[: len(archive.MAGIC)] + archive._checksum(damaged) + damaged


def header(content):
    """Of our archive: the JSON that says what is in it."""
    (size,) = struct.unpack_from("<I", content, START)
    return zlib.decompress(content[START + 4 : START + 4 + size])


def with_header(damaged, content):
    (size,) = struct.unpack_from("<I", content, START)
    packed = zlib.compress(damaged)
    rest = content[START + 4 + size :]
    return with_checksum(struct.pack("<I", len(packed)) + packed + rest, content)


def safetensors_header(content):
    return content[8 : 8 + int.from_bytes(content[:8], "little")]


def with_safetensors_header(damaged, content):
    rest = content[8 + int.from_bytes(content[:8], "little") :]
    return len(damaged).to_bytes(8, "little") + damaged + rest


def by_name(folder):
    return formats.by_name(folder / FILE)


EXPORTED = (exported_weights, recognized("a.safetensors"))
FIT, HEADER = (body, with_checksum), (header, with_header)
TENSORS = (safetensors_header, with_safetensors_header)
CASES = (
    Case("pth zip", torch_zip, by_name, checksum=True),
    Case("pth legacy", torch_legacy, by_name),
    Case("npz", npz, by_name, checksum=True),
    Case("npz, compressed", npz_compressed, by_name, checksum=True),
    Case("safetensors", safetensors_foreign, by_name),
    Case("safetensors, header", safetensors_foreign, by_name, inside=TENSORS),
    Case("safetensors, ours", safetensors_own, by_name, checksum=True),
    Case("recognized by names and shapes", *EXPORTED, "*.safetensors", inside=TENSORS),
    Case("JSON beside exported weights", *EXPORTED, "*.json"),
    Case("config.json of transformers", hub_folder, recognized("."), "*.json"),
    Case("config.json of timm", timm_folder, recognized("."), "*.json"),
    Case("ONNX", *named(".onnx", onnx)),
    Case("caffemodel", *named(".caffemodel", caffe)),
    Case("caffemodel, old", *named(".caffemodel", functools.partial(caffe, old=True))),
    Case("Keras HDF5", *named(".h5", keras)),
    Case("Keras archive", *named(".keras", functools.partial(keras, write=writing.keras_archive))),
    Case("Flax msgpack", *named(".msgpack", msgpack)),
    Case("TensorFlow.js", tfjs, read_tfjs),
    Case("TensorFlow 1, slices", *named(".ckpt", slices)),
    Case("TensorFlow 1, bundle", bundle, lambda folder: formats.by_name(folder / "a.index")),
    Case("Deep Compression net", squeezenet, lambda f: deep_compression.read(f / FILE)),
    Case("our archive", own_archive, read_archive, checksum=True),
    Case("our archive, checksum made to fit", own_archive, read_archive, inside=FIT),
    Case("our archive, header", own_archive, read_archive, inside=HEADER),
    Case("compressed run", compressed_run, read_run, checksum=True),
    Case("compressed run, header", compressed_run, read_run, inside=HEADER),
    Case("ONNX, ours", exported_run, read_exported_run),
)
