"""Our own files: variables in a `.safetensors` file with keys like "params/conv1/kernel"."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cnn_jax import files
from cnn_jax.errors import UserError


def save(path: str | Path, variables: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Writes variables; `about` (JSON values) describes them in the header."""
    arrays = jax.tree.map(np.asarray, dict(variables))
    flat = flax.traverse_util.flatten_dict(arrays, sep="/")
    contiguous = {key: np.ascontiguousarray(array) for key, array in flat.items()}
    with files.replacing(path) as temporary:
        save_file(contiguous, temporary, metadata={"about": json.dumps(dict(about))})


def load(path: str | Path) -> dict[str, Any]:
    """Reads variables that `save` wrote; raises `UserError` for any other file."""
    try:
        flat = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {path} ({error})") from None
    if not any(key.startswith("params/") for key in flat):
        raise UserError(f"{path} has no variables: no key begins with 'params/'")
    return flax.traverse_util.unflatten_dict(flat, sep="/")
