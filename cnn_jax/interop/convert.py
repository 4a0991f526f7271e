"""Converts files of weights from PyTorch to Flax and back; the content decides the direction."""

import io
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict

from cnn_jax import files
from cnn_jax.errors import UserError
from cnn_jax.interop import formats, read, recognize, torchvision, translate, weights


def convert(name: str, source: Path, target: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Converts the weights of torchvision's network `name`.

    A state dict (`.pth`, `.safetensors`) becomes Flax variables in a `.safetensors` file; such a
    file becomes a state dict (`.safetensors`, or `.pth` with PyTorch). Returns a description of
    what was written, and the state dict. Raises `UserError` for other files and other weights,
    before it touches `target`.
    """
    torchvision.module(name)  # an unknown name raises before a large file is read
    check_folder(target)
    content = formats.by_name(source)
    if any(key.startswith("params/") for key in content):
        state = torchvision.to_torch(name, weights.load(source))
        write_state_dict(target, state)
        return f"{len(state)} arrays of a state dict", state
    check_suffix(target)
    variables = torchvision.to_flax(name, content)
    classes = translate.number_of_classes(flatten_dict(variables))
    weights.save(target, variables, {"torchvision": name, "num_classes": classes})
    return "Flax variables", content


def recognized(source: Path, target: Path) -> str:
    """Writes weights of any known source as Flax variables, with what is known of the network.

    Returns a description of what was found.
    """
    check_folder(target)
    check_suffix(target)
    found = read.trained(source)
    about = {"source": found.source, "model": found.model, "class_names": found.class_names}
    about["images"] = found.images and found.images._asdict()
    weights.save(target, found.variables, about)
    classes = found.model["num_classes"]
    ends = f"{classes:,} classes" if classes else "no classifier"
    return f"{found.source}'s weights of {recognize.named(found.model)}, {ends}"


def check_folder(target: Path) -> None:
    """Raises `UserError` where there is no folder for the file."""
    if not target.parent.is_dir():
        raise UserError(f"no folder {target.parent} to write {target.name} into")


def check_suffix(target: Path) -> None:
    """Raises `UserError` for a file that is not called as Flax variables are."""
    if target.suffix != ".safetensors":
        raise UserError(f"Flax variables are written as .safetensors, not as {target.name}", 2)


def write_state_dict(target: Path, state: dict[str, np.ndarray]) -> None:
    """Writes a state dict as `.safetensors` or `.pth`."""
    if target.suffix == ".safetensors":
        formats.write_safetensors(
            target, state, {"format": "pt"}
        )  # which PyTorch's readers ask for
    elif target.suffix in (".pth", ".pt"):
        try:
            import torch
        except ImportError:
            message = f"writing {target} needs PyTorch, pip install torch; .safetensors does not"
            raise UserError(message) from None
        content = io.BytesIO()  # in a file of its own PyTorch would write that file's name
        torch.save({key: torch.from_numpy(np.array(a)) for key, a in state.items()}, content)
        files.write_bytes(target, content.getvalue())
    else:
        raise UserError(f"a state dict is written as .safetensors or .pth, not {target.name}", 2)
