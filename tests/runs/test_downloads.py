"""Weights of torchvision and of the hub come over HTTP, are verified, and fail in one line."""

import hashlib
import sys

import jax
import numpy as np
import pytest

import cnn_jax
from cnn_jax.errors import UserError
from cnn_jax.interop import formats
from cnn_jax.interop import torchvision as networks
from cnn_jax.interop.sources import layout
from cnn_jax.runs import downloads
from tests import fake_hub


@pytest.fixture(scope="module")
def variables():
    """Random ones of a SqueezeNet for 1000 classes."""
    rng, image = np.random.default_rng(0), np.zeros((1, 64, 64, 3))
    shapes = jax.eval_shape(networks.module("squeezenet1_1").init, jax.random.key(0), image)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32) / 9, shapes)


@pytest.fixture(scope="module")
def content(variables, tmp_path_factory):
    """A file of it."""
    path = tmp_path_factory.mktemp("weights") / "state.safetensors"
    state = networks.to_torch("squeezenet1_1", variables)
    formats.write_safetensors(path, state, {"format": "pt"})
    return path.read_bytes()


# --- torchvision ----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """PyTorch's cache, in a folder of the test."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "checkpoints"


def test_torchvisions_weights_bring_classes_view_and_normalization(content, cache, monkeypatch):
    digest = hashlib.sha256(content).hexdigest()[:8]
    name = f"net-{digest}.pth"
    library = downloads.reference.torchvision()
    chosen = library.models.get_model_weights("squeezenet1_1").DEFAULT
    with fake_hub.served({"files/all": {name: content}}) as server:
        url = f"{server.url}/files/all/resolve/main/{name}"
        monkeypatch.setattr(type(chosen), "url", property(lambda self: url))
        run = cnn_jax.load_pretrained("torchvision:squeezenet1_1/IMAGENET1K_V1")
    assert (cache / name).read_bytes() == content
    assert run.class_names[:2] == ("tench", "goldfish") and run.evaluation_view.resize == 256
    np.testing.assert_allclose(run.preprocessing.std, 255 * np.float32(layout.IMAGENET.std))
    assert cnn_jax.load_pretrained("torchvision:squeezenet1_1").image_shape == (224, 224, 3)
    with pytest.raises(UserError, match="weights of torchvision's squeezenet1_1 'V9'"):
        cnn_jax.load_pretrained("torchvision:squeezenet1_1/V9")


def test_a_download_that_was_damaged_on_its_way_is_told(cache):
    with fake_hub.served({"files/all": {"net-0123abcd.pth": b"something else"}}) as server:
        url = f"{server.url}/files/all/resolve/main/net-0123abcd.pth"
        message = "net-0123abcd.pth is damaged: its SHA-256 is not 0123abcd"
        with pytest.raises(UserError, match=message):
            downloads.cached(url)


@pytest.mark.parametrize("is_served", [True, False])
def test_a_file_that_cannot_be_had_says_where_to_put_it(is_served, cache):
    with fake_hub.served({}) as server:
        url = f"{server.url if is_served else fake_hub.unused_url()}/nowhere/net-0123abcd.pth"
        with pytest.raises(
            UserError, match="cannot download .*without network put it into .*checkpoints"
        ) as told:
            downloads.cached(url)
    assert "\n" not in str(told.value)


# --- the hub --------------------------------------------------------------------------------------


@pytest.fixture
def hub(content, tmp_path, monkeypatch):
    """A hub with a repository, and the library's cache in a folder of the test."""
    pytest.importorskip("huggingface_hub")
    with fake_hub.served({"a/squeezenet": {"model.safetensors": content}}) as server:
        fake_hub.use(server, monkeypatch, tmp_path)
        yield server


def test_a_repository_of_the_hub_is_fetched_and_found_again_without_network(
    hub, monkeypatch, tmp_path
):
    run = cnn_jax.load_pretrained("hub:a/squeezenet")
    assert run.config.model.version == "1.1" and len(run.class_names) == 1000
    fake_hub.use(fake_hub.unused_url(), monkeypatch, tmp_path)
    assert cnn_jax.load_pretrained("hub:a/squeezenet").class_names == run.class_names


def test_a_file_that_was_damaged_on_its_way_from_the_hub_is_told(hub):
    hub.damage = lambda content: content[:-2] + b"??"
    with pytest.raises(UserError, match="is damaged: its SHA-256 is another; remove it"):
        cnn_jax.load_pretrained("hub:a/squeezenet")


def test_what_the_hub_does_not_have_is_told(hub, monkeypatch, tmp_path):
    with pytest.raises(UserError, match="^the hub has no a/none, or it is private: `hf auth"):
        cnn_jax.load_pretrained("hub:a/none")
    hub.files["a/empty"] = {"README.md": b"nothing"}
    with pytest.raises(UserError, match="a/empty of the hub has no weights: none of model.sa"):
        cnn_jax.load_pretrained("hub:a/empty")
    fake_hub.use(fake_hub.unused_url(), monkeypatch, tmp_path / "other")
    with pytest.raises(
        UserError, match="cannot get a/squeezenet from the hub .*network copy"
    ) as told:
        cnn_jax.load_pretrained("hub:a/squeezenet")
    assert "\n" not in str(told.value)


def test_without_the_hubs_library_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install huggingface_hub"):
        cnn_jax.load_pretrained("hub:a/none")
