"""A folder for the Hugging Face Hub: weights, what they expect of images, and a model card.

Networks that timm has are written for timm, which loads the folder or the repository by its
`config.json`; others with our names, for `cnn_jax.load_pretrained`.
"""

from pathlib import Path
from typing import Any

from cnn_jax import files
from cnn_jax.errors import UserError, first_line
from cnn_jax.interop import convert, hub_folder
from cnn_jax.interop.export import about, card, named, safetensors
from cnn_jax.interop.export.exported import Exported
from cnn_jax.interop.sources import torch_sources
from cnn_jax.interop.sources.layout import Images

OPTIONS = ("push",)
# Of torchvision's names timm has those of these families, and most with the same names of arrays.
TIMM = {
    "resnet": {"first_conv": "conv1", "classifier": "fc"},
    "vgg": {"first_conv": "features.0", "classifier": "head.fc"},
    "inception_v3": {"first_conv": "Conv2d_1a_3x3.conv", "classifier": "fc"},
}


def write(network: Exported, out: Path, push: str | None = None) -> list[str]:
    """Writes the folder.

    Args:
      push: the repository OWNER/NAME that it is uploaded to; it is made where there is none.
    """
    facts = about.facts(network, raw=True)
    images, name = hub_folder.images_in(facts), named.known_as(network)
    library = "cnn_jax"
    if name and network.settings["name"] in TIMM and images and images.channels == "rgb":
        library = "timm"
    arrays = for_timm(network, name) if library == "timm" else None
    out.mkdir()
    if arrays:
        convert.write_state_dict(out / "model.safetensors", arrays)
        files.write_json(out / "config.json", timm_config(network, name, images, arrays))
    else:
        safetensors.own(network, out / "model.safetensors")
        files.write_json(out / "config.json", {"library_name": library, **facts})
    files.write_text(out / "README.md", card.text(network, library, push))
    lines = [f"{out}: a folder for {library}, with its model card in README.md"]
    return lines + ([pushed(out, push)] if push else [])


def for_timm(network: Exported, name: str) -> dict[str, Any]:
    """The arrays by timm's names; timm's Inception-v3 has no auxiliary head."""
    table = torch_sources.timm_vgg if network.settings["name"] == "vgg" else torch_sources.table
    found = named.arrays(table(name), network)
    return {key: array for key, array in found.items() if not key.startswith("AuxLogits.")}


def timm_config(
    network: Exported, name: str, images: Images, arrays: dict[str, Any]
) -> dict[str, Any]:
    """timm's description of a network, of its images and of its classes."""
    view, classes = network.view, len(network.class_names)
    layers = TIMM[network.settings["name"]]
    height, width, channels = network.image_shape
    pretrained = {
        "num_classes": classes,
        "input_size": [channels, height, width],
        "mean": images.mean,
        "std": images.std,
        "interpolation": view["filters"][0],
        "crop_pct": height / view["resize"] if view["resize"] else 1.0,
        "crop_mode": "squash" if view["frame"] == "squash" else "center",
        **layers,
    }
    return {
        "architecture": name,
        "num_classes": classes,
        "num_features": arrays[f"{layers['classifier']}.weight"].shape[1],
        "label_names": network.class_names,
        "pretrained_cfg": pretrained,
    }


def pushed(folder: Path, repository: str) -> str:
    """Uploads the folder; returns the line to tell."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise UserError("--push needs the hub's library: pip install huggingface_hub") from None
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=folder)
    except (errors.HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"cannot upload to {repository} ({first_line(error)}); the folder {folder} is whole: "
            f"`hf auth login`, then `hf upload {repository} {folder}`"
        ) from None
    return f"{repository}: uploaded, {commit.commit_url}"
