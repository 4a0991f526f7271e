"""Folders for the Hugging Face Hub: what timm or cnn_jax reads, the model card, the upload."""

import json
import sys

import jax
import numpy as np
import pytest

import cnn_jax
from cnn_jax.errors import UserError
from cnn_jax.interop import read
from cnn_jax.interop.export import exported
from tests import fake_hub
from tests.conftest import launch_here
from tests.interop.export import made

RECIPE = {
    "config": {"model": {"name": "squeezenet"}, "seed": 7, "init": {"weights": None}},
    "summary": {"test": {"top1_error": 0.125, "loss": 0.5}},
}
IMAGES = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "rgb")
write = exported.writer("hub").write


def come_back(network, tmp_path):
    """What our reader finds in a folder; it is exported with the same bytes again."""
    one, other = tmp_path / "one", tmp_path / "other"
    write(network, one)
    found = read.trained(one)
    write(made.again(found, network), other)
    for name in ("model.safetensors", "config.json", "README.md"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    return found, json.loads((one / "config.json").read_text()), (one / "README.md").read_text()


def test_a_network_of_timm_is_described_in_its_words(tmp_path):
    found, config, card = come_back(made.network("resnet", depth=18, stride_in="3x3"), tmp_path)
    assert (found.source, found.class_names) == ("timm", ("class 0", "class 1", "class 2"))
    assert found.images == (64, *IMAGES)
    assert (config["architecture"], config["num_features"]) == ("resnet18", 512)
    about = config["pretrained_cfg"]
    assert (about["input_size"], about["crop_pct"]) == ([3, 64, 64], 1.0)
    assert (about["first_conv"], about["classifier"]) == ("conv1", "fc")
    assert "library_name: timm" in card and 'timm.create_model("local-dir:FOLDER"' in card


def test_other_networks_are_described_in_ours(tmp_path):
    found, config, card = come_back(made.network("squeezenet", version="1.1"), tmp_path)
    assert (found.source, found.class_names) == ("cnn_jax", ("class 0", "class 1", "class 2"))
    assert found.images == (64, *IMAGES)
    assert (config["library_name"], config["model"]["version"]) == ("cnn_jax", "1.1")
    assert 'cnn_jax.load_pretrained("FOLDER")' in card and "timm" not in card


def test_the_card_has_results_recipe_classes_and_license_of_a_run(tmp_path):
    network = made.network("wide_resnet", 32, depth=10, width=1)
    write(network._replace(recipe=RECIPE), tmp_path / "run")
    card = (tmp_path / "run" / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: cnn_jax\n")
    assert "| test | top1_error | 0.125 |" in card and '"seed": 7' in card
    assert "class 0, class 1, class 2" in card and '"mean": [123.67' in card
    write(network, tmp_path / "foreign")
    assert "license: other" in (tmp_path / "foreign" / "README.md").read_text()


def test_a_run_that_began_with_the_weights_of_others_does_not_choose_their_license(tmp_path):
    config = RECIPE["config"] | {"init": {"weights": "torchvision:resnet18"}}
    network = made.network("wide_resnet", 32, depth=10, width=1)
    write(network._replace(recipe=RECIPE | {"config": config}), tmp_path / "tuned")
    card = (tmp_path / "tuned" / "README.md").read_text()
    assert "license: other" in card and "looked up" in card


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty hub."""
    pytest.importorskip("huggingface_hub")
    with fake_hub.served({}) as server:
        fake_hub.use(server, monkeypatch, tmp_path / "cache")
        yield server


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_pushed_network_is_loaded_by_its_name(hub, tmp_path):
    network = made.network("wide_resnet", 32, depth=10, width=1)
    _, told = write(network, tmp_path / "out", push="me/wrn")
    assert told.startswith(f"me/wrn: uploaded, {hub.url}/me/wrn/commit/")
    assert set(hub.files["me/wrn"]) == {"config.json", "model.safetensors", "README.md"}
    assert b'load_pretrained("hub:me/wrn")' in hub.files["me/wrn"]["README.md"]
    run = cnn_jax.load_pretrained("hub:me/wrn")
    assert run.class_names == network.class_names
    jax.tree.map(np.testing.assert_array_equal, run.variables(), network.variables)


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_network_of_the_hub_is_exported_by_its_name(hub, tmp_path):
    network = made.network("wide_resnet", 32, depth=10, width=1)
    write(network, tmp_path / "out", push="me/wrn")
    done = launch_here("export", "hub:me/wrn", "--to=hub", f"--out={tmp_path}/again")
    assert done.returncode == 0, done.stderr
    weights = [tmp_path / folder / "model.safetensors" for folder in ("out", "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_an_upload_that_fails_leaves_the_folder_and_says_how_to_go_on(hub, tmp_path, monkeypatch):
    network = made.network("wide_resnet", 32, depth=10, width=1)
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(
        UserError, match="cannot upload to me/wrn .*401 .*hf auth login`, then"
    ) as told:
        write(network, tmp_path / "out", push="me/wrn")
    assert "\n" not in str(told.value) and (tmp_path / "out" / "README.md").exists()
    fake_hub.use(fake_hub.unused_url(), monkeypatch, tmp_path / "cache")
    with pytest.raises(UserError, match="cannot upload to me/wrn .*refused"):
        write(network, tmp_path / "other", push="me/wrn")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install huggingface_hub"):
        write(network, tmp_path / "third", push="me/wrn")
