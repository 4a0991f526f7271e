"""Trained weights from torchvision and the Hugging Face Hub, by their own libraries and caches.

Files are compared with their checksums whenever they are read, and no code of theirs runs.
"""

import hashlib
import re
from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from cnn_jax.errors import UserError, first_line, unknown
from cnn_jax.interop import formats, hub_folder, read, reference, translate
from cnn_jax.interop import torchvision as networks
from cnn_jax.interop.sources import layout

# The first of these that a repository has is read. TensorFlow.js keeps its arrays in further files.
OF_HUB = tuple(name for name in hub_folder.WEIGHTS if name != "model.json")
# Inside of these torchvision changes the normalization of its other networks to this one.
OWN_SCALE = dict.fromkeys(("googlenet", "inception_v3"), (0.5, 0.5, 0.5))


def torchvision(text: str) -> read.Trained:
    """torchvision's network NAME with its best weights, or NAME/WEIGHTS."""
    name, _, which = text.partition("/")
    options = networks.options(name)
    try:
        library = reference.torchvision()
    except UserError as error:
        raise UserError(f"torchvision:{text}: {error}") from None
    weights = library.models.get_model_weights(name)
    if which and which not in weights.__members__:
        raise unknown(f"weights of torchvision's {name}", which, weights.__members__)
    chosen = weights[which] if which else weights.DEFAULT
    variables = networks.to_flax(name, formats.by_name(cached(chosen.url)))
    variables = jax.tree.map(np.float32, variables)
    classes, see = translate.number_of_classes(flatten_dict(variables)), chosen.transforms()
    scale = [OWN_SCALE.get(name, tuple(values)) for values in (see.mean, see.std)]
    images = layout.Images(see.crop_size[0], *scale, "rgb")
    view = {"kind": "center", "size": see.crop_size[0], "resize": see.resize_size[0]}
    view |= {"frame": "full", "filters": [see.interpolation.value], "dct_scaling": False}
    model, names = options | {"num_classes": classes}, tuple(chosen.meta["categories"])
    return read.Trained("torchvision", model, variables, images, names, view)


def cached(url: str) -> Path:
    """The file of an address in PyTorch's cache, downloaded where it is not there, and verified."""
    import torch

    name = url.rpartition("/")[2]
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, file, progress=False)
        except OSError as error:
            raise UserError(
                f"cannot download {url} ({first_line(error)}); without network put it into "
                f"{file.parent}"
            ) from None
    expected = re.search(r"-([0-9a-f]{8,})\.", name)  # as PyTorch names its files
    if expected and not digest(file).startswith(expected[1]):
        raise UserError(f"{file} is damaged: its SHA-256 is not {expected[1]}...; remove it")
    return file


def hub(text: str) -> read.Trained:
    """The network of a repository OWNER/NAME of the Hub, or of REVISION@OWNER/NAME."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise UserError(
            f"hub:{text} needs the hub's library: pip install huggingface_hub"
        ) from None
    revision, _, name = text.rpartition("@")
    for weights in OF_HUB:
        try:
            folder = huggingface_hub.snapshot_download(
                name, revision=revision or None, allow_patterns=["*.json", weights]
            )
        except errors.RepositoryNotFoundError:
            raise UserError(f"the hub has no {name}, or it is private: `hf auth login`") from None
        except (errors.HTTPError, OSError, ValueError) as error:
            raise UserError(
                f"cannot get {name} from the hub ({first_line(error)}); without network copy its "
                "folder here and name that, or fetch it before with `hf download`"
            ) from None
        if (Path(folder) / weights).exists():
            break
    else:
        raise UserError(f"{name} of the hub has no weights: none of {', '.join(OF_HUB)}")
    for file in Path(folder).iterdir():
        # Large files lie in the cache under their SHA-256.
        expected = file.resolve().name
        if re.fullmatch("[0-9a-f]{64}", expected) and digest(file) != expected:
            raise UserError(f"{file.resolve()} is damaged: its SHA-256 is another; remove it")
    return read.trained(Path(folder))


def digest(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


SOURCES = {"torchvision": torchvision, "hub": hub}
