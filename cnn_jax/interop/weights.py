"""Our own files: variables in a `.safetensors` file with keys like "params/conv1/kernel"."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from cnn_jax.errors import UserError
from cnn_jax.interop import formats


def save(path: str | Path, variables: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Writes variables with a checksum; `about` (JSON values) describes them in the header."""
    arrays = jax.tree.map(np.asarray, dict(variables))
    flat = flax.traverse_util.flatten_dict(arrays, sep="/")
    metadata = {
        "about": json.dumps(dict(about), sort_keys=True),
        formats.CHECKSUM: formats.digest(flat),
    }
    formats.write_safetensors(path, flat, metadata)


def load(path: str | Path) -> dict[str, Any]:
    """Reads variables that `save` wrote; raises `UserError` for any other file."""
    flat = formats.by_name(Path(path))
    if not any(key.startswith("params/") for key in flat):
        raise UserError(f"{path} has no variables: no key begins with 'params/'")
    return flax.traverse_util.unflatten_dict(flat, sep="/")
