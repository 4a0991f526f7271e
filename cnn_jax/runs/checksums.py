"""Checksums of the arrays of a checkpoint: one for each, so that parts can be verified, too."""

import json
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def checksum(tree: Any) -> int:
    """CRC-32 of the bytes of all leaves, in the order of the tree."""
    value = 0
    for leaf in jax.tree.leaves(tree):
        value = zlib.crc32(np.ascontiguousarray(leaf), value)
    return value


def checksums(tree: Any) -> dict[str, int]:
    """CRC-32 of each array, of its type and its shape, by its path such as "params/fc/kernel"."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        kind = zlib.crc32(f"{leaf.dtype} {np.shape(leaf)}".encode())
        data = np.ascontiguousarray(leaf).view(np.uint8)
        found[jax.tree_util.keystr(path, simple=True, separator="/")] = zlib.crc32(data, kind)
    return found


def verify(tree: Any, expected: dict[str, int], branches: Sequence[str] | None = None) -> None:
    """Raises `ValueError` where an array is missing, or is not the one that was saved.

    Args:
      tree: a state, or some `branches` of one.
      expected: the checksums of all arrays of the state.
    """
    found = checksums(tree)
    if branches is not None:
        expected = {n: value for n, value in expected.items() if n.partition("/")[0] in branches}
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            raise ValueError(f"{name} is not what was saved")


def checksum_of(about: dict[str, Any]) -> int:
    """CRC-32 of what is saved about a checkpoint."""
    return zlib.crc32(json.dumps(about, sort_keys=True).encode())
