"""The authors' compressed SqueezeNet is read exactly, and recognizes what it recognized in 2016."""

import os
import struct
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from cnn_jax import errors, models
from cnn_jax.cluster.join import Alone
from cnn_jax.data import Split
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.interop import deep_compression
from cnn_jax.training import compiler, sharding
from cnn_jax.training.inputs import make_evaluate
from experiments.deep_compression import published

DATA = Path(
    os.environ.get("CNN_JAX_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
NET = DATA / "squeezenet_deep_compression" / "compressed_SqueezeNet.net"
IMAGES = DATA / "imagenet_sample"
needs_net = pytest.mark.skipif(not NET.exists(), reason=f"{NET} is absent")
needs_images = pytest.mark.skipif(not IMAGES.exists(), reason=f"{IMAGES} is absent")

OPTIONS = {"num_classes": 1000, "version": "1.0", "conv10_padding": 1}
FIRES = [(96, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128)]
FIRES += [(256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)]
# [out, in, height, width] in the order of the file.
CAFFE_SHAPES = [
    (96, 3, 7, 7),
    *(
        shape
        for inputs, squeeze, expand in FIRES
        for shape in [
            (squeeze, inputs, 1, 1),
            (expand, squeeze, 1, 1),
            (expand, squeeze, 3, 3),
        ]
    ),
    (1000, 512, 1, 1),
]


def encoded(shape, seed, gaps=None):
    """One convolution, random weights in a few places: entries, bytes, kernel, bias."""
    generator = np.random.default_rng(seed)
    codebook = generator.standard_normal(256).astype("<f4")
    codebook[0] = 0
    bias = generator.standard_normal(shape[0]).astype("<f4")
    if gaps is None:
        gaps = generator.integers(0, 16, 41)  # odd, so that the last byte has half an entry
    codes = generator.integers(0, 256, len(gaps)).astype(np.uint8)
    kernel = np.zeros(shape, np.float32)
    position = -1
    for gap, code in zip(gaps, codes, strict=True):
        position += int(gap) + 1
        if position < kernel.size:
            kernel.flat[position] = codebook[code]
    even = [*gaps, 0][: len(gaps) + len(gaps) % 2]
    packed = bytes(
        int(low) | int(high) << 4 for low, high in zip(even[::2], even[1::2], strict=True)
    )
    section = codebook.tobytes() + bias.tobytes() + codes.tobytes() + packed
    return len(gaps), section, kernel, bias


def net(**gaps_of_first):
    """A whole file, and kernel and bias of every convolution."""
    layers = [
        encoded(shape, i, **(gaps_of_first if i == 0 else {}))
        for i, shape in enumerate(CAFFE_SHAPES)
    ]
    header = struct.pack("<26I", *(layer[0] for layer in layers))
    return header + b"".join(layer[1] for layer in layers), layers


def at(params, i):
    if i in (0, 25):
        return params["conv1" if i == 0 else "conv10"]
    name = ("squeeze1x1", "expand1x1", "expand3x3")[(i - 1) % 3]
    return params[f"fire{2 + (i - 1) // 3}"][name]


def test_read_gives_each_kernel_as_height_width_in_out(tmp_path):
    data, layers = net()
    (tmp_path / "a.net").write_bytes(data)
    params = deep_compression.read(tmp_path / "a.net")["params"]
    for i, (_, _, kernel, bias) in enumerate(layers):
        np.testing.assert_array_equal(at(params, i)["kernel"], kernel.transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(at(params, i)["bias"], bias)


def test_read_gives_the_variables_of_the_network(tmp_path):
    (tmp_path / "a.net").write_bytes(net()[0])
    variables = deep_compression.read(str(tmp_path / "a.net"))
    image = jax.ShapeDtypeStruct((1, 227, 227, 3), np.float32)
    model = models.create("squeezenet", **OPTIONS)
    expected = jax.eval_shape(model.init, jax.random.key(0), image)
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(variables), jax.tree.leaves(expected), strict=True):
        assert isinstance(ours, np.ndarray)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)


def test_the_last_position_of_a_kernel_can_be_used(tmp_path):
    gaps = [15] * (96 * 3 * 7 * 7 // 16)  # to the very last of the 14,112 weights of conv1
    data, layers = net(gaps=gaps)
    (tmp_path / "a.net").write_bytes(data)
    kernel = deep_compression.read(tmp_path / "a.net")["params"]["conv1"]["kernel"]
    assert kernel[-1, -1, -1, -1] == layers[0][2].flat[-1] != 0


def test_write_of_what_parse_gave_is_the_same_file(tmp_path):
    data, _ = net()
    (tmp_path / "a.net").write_bytes(data)
    deep_compression.write(tmp_path / "b.net", deep_compression.parse(tmp_path / "a.net"))
    assert (tmp_path / "b.net").read_bytes() == data


@needs_net
def test_write_gives_the_released_file_byte_for_byte(tmp_path):
    deep_compression.write(tmp_path / "a.net", deep_compression.parse(NET))
    assert (tmp_path / "a.net").read_bytes() == NET.read_bytes()


def test_write_refuses_layers_that_are_not_those_of_the_network(tmp_path):
    (tmp_path / "a.net").write_bytes(net()[0])
    layers = deep_compression.parse(tmp_path / "a.net")
    with pytest.raises(errors.UserError, match="26 convolutions, not 25"):
        deep_compression.write(tmp_path / "b.net", layers[:-1])
    layers[3] = layers[3]._replace(bias=layers[3].bias[:-1])
    with pytest.raises(errors.UserError, match=r"fire2/expand3x3: .* \[64\]"):
        deep_compression.write(tmp_path / "b.net", layers)
    assert not (tmp_path / "b.net").exists()


def changed(data, offset, value):
    return data[:offset] + value + data[offset + len(value) :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "has 0 bytes, less than the header"),
        (lambda data: data[:100], "has 100 bytes, less than the header"),
        (lambda data: data[:104], "is truncated: 104 bytes, where its header asks for"),
        (lambda data: data[:-1], "is truncated"),
        (lambda data: data + b"\0", "has bytes left over"),
        (lambda data: b"\xff\xd8\xff\xe0" + data[4:], "not a compressed SqueezeNet 1.0.*conv1"),
        (lambda data: changed(data, 4, bytes(4)), "gives 0 entries.*fire2/squeeze1x1"),
        (lambda data: changed(data, 104, b"\0\0\x80\x3f"), "codebook of conv1 does not begin with"),
        (lambda data: changed(data, 108, b"\0\0\xc0\x7f"), "value of it or of the biases"),
    ],
)
def test_a_file_that_is_not_whole_or_foreign_is_refused_by_name(tmp_path, damage, message):
    path = tmp_path / "broken.net"
    path.write_bytes(damage(net()[0]))
    with pytest.raises(errors.UserError, match=message) as caught:
        deep_compression.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_position_outside_the_kernel_is_refused(tmp_path):
    path = tmp_path / "far.net"
    path.write_bytes(net(gaps=[15] * (96 * 3 * 7 * 7 // 16) + [0])[0])
    with pytest.raises(errors.UserError, match=r"far\.net is damaged: position 14112 in conv1"):
        deep_compression.read(path)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    with pytest.raises(errors.UserError, match=r"none\.net.*No such file"):
        deep_compression.read(tmp_path / "none.net")
    with pytest.raises(errors.UserError, match="cannot read"):
        deep_compression.read(tmp_path)


@needs_net
def test_the_released_file_has_its_published_number_of_weights():
    params = deep_compression.read(NET)["params"]
    assert NET.stat().st_size == published.SQUEEZENET_BYTES
    kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
    assert sum(np.count_nonzero(kernel) for kernel in kernels) == published.SQUEEZENET_NONZERO
    assert sum(kernel.size for kernel in kernels) == 1_244_448


@needs_net
def test_the_released_file_has_its_published_density_in_half_pruned_layers():
    params = deep_compression.read(NET)["params"]
    density = {
        f"{fire}/{name}": np.count_nonzero(layer["kernel"]) / layer["kernel"].size
        for fire, module in params.items()
        if fire.startswith("fire")
        for name, layer in module.items()
    }
    half = {name for name, share in density.items() if 0.4 < share < 0.6}
    squeeze, expand = "squeeze1x1", "expand1x1"
    assert half == {f"fire6/{expand}", f"fire7/{squeeze}", f"fire8/{expand}", f"fire9/{squeeze}"}
    assert all(0.29 < density[f"fire{i}/expand3x3"] < 0.35 for i in range(2, 10))


def sample(count):
    """The first images of the sample as Caffe cropped them, BGR, uint8, and their labels."""
    images, labels = [], []
    for label, line in enumerate((IMAGES / "synsets.tsv").read_text().splitlines()):
        for path in sorted((IMAGES / line.split("\t")[0]).glob("*.JPEG")):
            image = Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
            images.append(np.asarray(image.crop((14, 14, 241, 241)))[..., ::-1])
            labels.append(label)
    return Split(np.stack(images[:count]), np.array(labels[:count], np.int32))


def right(count):
    """How many of the first `count` images are right at top-1 and at top-5."""
    model = models.create("squeezenet", **OPTIONS)
    caffe = Preprocessing(np.float32([104, 117, 123]), np.ones(1, np.float32), None)
    evaluate = make_evaluate(
        model,
        sample(count),
        caffe,
        batch_size=25,
        jit=compiler.Jit(with_precision=compiler.precision(matmul="float32")),
        mesh=sharding.data_mesh(),
        group=Alone(),
    )
    numbers = evaluate(deep_compression.read(NET) | {"batch_stats": {}})
    return tuple(round(count * (1 - numbers[f"top{k}_error"])) for k in (1, 5))


@needs_net
@needs_images
def test_the_released_weights_recognise_most_of_25_images():
    top1, top5 = right(25)
    assert top1 >= 15
    assert top5 >= 20


@pytest.mark.slow
@needs_net
@needs_images
def test_the_released_weights_get_321_and_421_of_the_500_images_right():
    top1, top5 = right(500)
    assert top1 == pytest.approx(321, abs=3)
    assert top5 == pytest.approx(421, abs=3)
