"""The variables in what `flax.serialization` writes: a tree of them, or a whole training state."""

from collections.abc import Mapping
from typing import Any

import flax.serialization
import flax.traverse_util
import numpy as np

from cnn_jax.errors import UserError

COLLECTIONS = ("params", "batch_stats")


def read(data: bytes) -> dict[str, np.ndarray]:
    """The arrays by paths such as "params/conv_init/kernel"."""
    tree = flax.serialization.msgpack_restore(data)
    if not isinstance(tree, Mapping) or "params" not in tree:
        raise UserError("it has no params: save {'params': ..., 'batch_stats': ...}")
    kept: dict[str, Any] = {name: tree[name] for name in COLLECTIONS if name in tree}
    flat = flax.traverse_util.flatten_dict(kept, sep="/")
    return {name: array for name, array in flat.items() if isinstance(array, np.ndarray)}
