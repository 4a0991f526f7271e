"""Where things are kept that can be made again: `$CNN_JAX_CACHE`, else `~/.cache/cnn_jax`."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """The folder of one kind of thing; it need not exist."""
    return Path(os.environ.get("CNN_JAX_CACHE") or Path.home() / ".cache" / "cnn_jax") / name
