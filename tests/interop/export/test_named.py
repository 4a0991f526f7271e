"""Exported weights are those of the source's network, and come back the same."""

import json

import numpy as np
import pytest

from cnn_jax.errors import UserError
from cnn_jax.interop import read, reference
from cnn_jax.interop.export import exported, named
from tests.interop.export import made
from tests.interop.sources import cases, networks

SQUEEZENET = {"version": "1.1"}


def of_torchvision(name):
    return lambda: reference.network(name, 20)


# Family, options, side, the source that is found for it, and the source's own network.
NETWORKS = [
    ("squeezenet", SQUEEZENET, 64, "torchvision", of_torchvision("squeezenet1_1")),
    (
        *("cifar_resnet", {"depth": 8, "shortcut": "B"}, 32, "chenyaofo"),
        lambda: networks.ResNet((1, 1, 1), 16, "B", "downsample", "fc", 20),
    ),
    (
        *("cifar_resnet", {"depth": 8}, 32, "akamaster"),
        lambda: networks.ResNet((1, 1, 1), 16, "A", "shortcut", "linear", 20),
    ),
    (
        *("wide_resnet", {"depth": 10, "width": 1}, 32, "xternalz"),
        lambda: networks.WideResNet(1, 1, 20),
    ),
    *(
        pytest.param(
            family, options, side, "torchvision", of_torchvision(name), marks=pytest.mark.slow
        )
        for name, family, options, side in [
            ("resnet18", "resnet", {"depth": 18}, 64),
            ("resnet50", "resnet", {"depth": 50, "stride_in": "3x3"}, 64),
            ("vgg11_bn", "vgg", {"depth": 11, "batch_norm": True}, 64),
            ("alexnet", "alexnet", {"variant": "one_tower"}, 64),
            ("googlenet", "googlenet", {"variant": "torchvision"}, 64),
            (
                *("inception_v3", "inception_v3", {"bn_scale": True, "count_include_pad": True}),
                299,
            ),
        ]
    ),
]


@pytest.mark.parametrize("family, options, side, source, build", NETWORKS)
def test_the_sources_network_takes_the_file_and_gives_the_same_logits(
    family, options, side, source, build, torch, tmp_path
):
    network = made.network(family, side, classes=20, **options)
    path = tmp_path / "a.pth"
    exported.writer("torch").write(network, path)
    theirs = build()
    theirs.load_state_dict(torch.load(path))
    images = cases.images(side)
    ours, expected = made.logits(network, images), cases.logits(theirs.eval(), images)
    assert np.abs(ours - expected).max() / np.abs(expected).max() < 1e-5
    assert named.by(network, None).source == source


@pytest.mark.parametrize("format, suffix", [("torch", ".pth"), ("safetensors", ".safetensors")])
@pytest.mark.parametrize("family, options, side", [network[:3] for network in NETWORKS[:4]])
def test_a_file_that_is_read_and_exported_again_has_the_same_bytes(
    format, suffix, family, options, side, tmp_path
):
    if format == "torch":
        pytest.importorskip("torch")
    network = made.network(family, side, **options)
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    exported.writer(format).write(network, first)
    found = read.trained(first)
    exported.writer(format).write(made.again(found, network), second)
    assert first.read_bytes() == second.read_bytes()
    assert found.class_names == network.class_names
    assert found.images == (side, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "rgb")


def test_our_names_keep_the_network_its_classes_and_the_order_of_channels(tmp_path):
    network = made.network("squeezenet", order=(2, 1, 0), **SQUEEZENET)
    for name in ("a.safetensors", "b.safetensors"):
        exported.writer("safetensors").write(network, tmp_path / name, names="ours")
        (tmp_path / name.replace("safetensors", "json")).unlink()
        found = read.trained(tmp_path / name)
        network = made.again(found, network)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (found.source, found.class_names) == ("cnn_jax", ("class 0", "class 1", "class 2"))
    assert found.images[1:] == ((0.406, 0.456, 0.485), (0.225, 0.224, 0.229), "bgr")


def test_a_network_that_no_source_has_is_written_by_our_names(tmp_path):
    network = made.network("squeezenet", bypass="simple", **SQUEEZENET)
    told, _ = exported.writer("safetensors").write(network, tmp_path / "a.safetensors")
    assert told.endswith(
        "a.safetensors: arrays by names of cnn_jax, which reads it with model and classes"
    )


@pytest.mark.parametrize(
    "family, options, told",
    [
        ("squeezenet", {"conv10_padding": 1}, "torchvision's, has conv10_padding=0 and not 1"),
        ("cifar_resnet", {"depth": 8, "residual": False}, "has residual=True and not False"),
        ("resnet", {"depth": 50, "width": 0.0625}, "has stride_in=3x3 and not 1x1"),
        ("lenet", {"variant": "300-100"}, "no lenet by names of torchvision or "),
    ],
)
def test_another_function_of_the_same_weights_is_refused(family, options, told):
    side = 32 if family in ("cifar_resnet", "lenet") else 64
    with pytest.raises(UserError, match=told):
        named.by(made.network(family, side, **options), None)


def test_the_strides_of_basic_units_are_no_difference():
    network = made.network("resnet", depth=18, width=0.0625, stride_in="1x1")
    assert named.by(network, "timm").network is None  # which has no such width


def test_timms_vgg_has_convolutions_on_the_last_map():
    network = made.network("vgg", depth=11, fc_width=8)
    arrays = named.by(network, "timm").arrays
    assert arrays["pre_logits.fc1.weight"].shape == (8, 512, 7, 7)
    assert arrays["pre_logits.fc2.weight"].shape == (8, 8, 1, 1)
    assert arrays["head.fc.weight"].shape == (3, 8)


def test_unknown_names_and_endings_are_told(tmp_path):
    network = made.network("wide_resnet", 32, depth=10, width=1)
    with pytest.raises(UserError, match="--names 'timmm'.*did you mean 'timm'"):
        named.by(network, "timmm")
    for format in ("torch", "safetensors", "keras"):
        with pytest.raises(UserError, match="called .*, not a.npz"):
            exported.writer(format).write(network, tmp_path / "a.npz")


def test_json_beside_the_file_tells_of_images_and_classes(tmp_path):
    network = made.network("wide_resnet", 32, depth=10, width=1)
    exported.writer("safetensors").write(network, tmp_path / "a.safetensors")
    facts = json.loads((tmp_path / "a.json").read_text())
    assert facts["class_names"] == ["class 0", "class 1", "class 2"]
    assert facts["view"]["size"] == 32
