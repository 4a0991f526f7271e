"""An image folder as a data set in memory.

The first read decodes every file and keeps the arrays as one file in the user's cache folder, under
a fingerprint of the names, sizes and modification times of all files: a folder that has changed is
read anew.
"""

import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cnn_jax.data import listing, packed
from cnn_jax.data.dataset import Dataset, Split, check_memory
from cnn_jax.data.decode import BadImage, full
from cnn_jax.errors import UserError, first_line
from cnn_jax.files import cache_folder, write_arrays

RULES = 2  # the number of changes to how files are chosen and decoded


def load(path: Path | None, image_size: int | None) -> Dataset:
    """Reads the folder: uint8 [N, H, W, C], gray (C = 1) where every file is, else RGB.

    Raises `UserError` for what `listing.find` refuses, a damaged file, images of different sizes.
    """
    class_names, splits = listing.find(path)
    files = {split: found.paths for split, found in splits.items()}
    cache = cache_folder("folders") / f"{fingerprint(path, files, image_size)}.npz"
    images = read_cache(cache)
    if images is None or any(len(images.get(s, ())) != len(own) for s, own in files.items()):
        size = None if image_size is None else (image_size, image_size)
        images = decode_all(files, size)
        write_cache(cache, images)
    return Dataset(class_names, {s: Split(images[s], splits[s].labels) for s in splits})


def decode_all(files: dict[str, list[Path]], size: tuple[int, int] | None) -> dict[str, np.ndarray]:
    """Decodes every file, in threads: uint8 [N, H, W, C] for each split."""
    members = [file for split in files.values() for file in split]
    check_memory("folder", len(members), decode(members[0], size).shape)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        arrays = list(pool.map(lambda file: decode(file, size), members))
    for file, array in zip(members, arrays, strict=True):
        if array.shape[:2] != arrays[0].shape[:2]:
            raise UserError(
                f"folder: {file} is {array.shape[1]}x{array.shape[0]} pixels and {members[0]} is "
                f"{arrays[0].shape[1]}x{arrays[0].shape[0]}: bring all to one size with "
                "--config.data.image_size=PIXELS"
            )
    channels = max(array.shape[2] for array in arrays)
    arrays = iter(np.broadcast_to(a, (*a.shape[:2], channels)) for a in arrays)
    return {name: np.stack([next(arrays) for _ in split]) for name, split in files.items()}


def decode(file: Path, size: tuple[int, int] | None, mode: str | None = None) -> np.ndarray:
    """Decodes an image file, see `decode_bytes`."""
    try:
        encoded = file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the image {file} ({error.strerror})") from None
    return decode_bytes(encoded, file, size, mode)


def decode_bytes(
    encoded: bytes, name: object, size: tuple[int, int] | None, mode: str | None = None
) -> np.ndarray:
    """`decode.full`, whose `BadImage` becomes a `UserError` with the image's name."""
    try:
        return full(encoded, size, mode)
    except BadImage as error:
        raise UserError(f"cannot decode the image {name} ({error}); replace or remove it") from None


def fingerprint(root: Path, files: dict[str, list[Path]], image_size: int | None) -> str:
    """A digest of the names, sizes and modification times of all files, and of the image size."""
    digest = hashlib.sha256(f"{image_size} {RULES}".encode())
    for members in files.values():
        for file in members:
            stat = file.stat()
            line = f"{file.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}\n"
            digest.update(os.fsencode(line))
    return f"{root.name}-{digest.hexdigest()[:32]}"


def read_cache(file: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a cached file by name; None where there is none, or a damaged one."""
    try:
        return packed.read_arrays(file)
    except (FileNotFoundError, packed.Damaged):
        return None


def write_cache(file: Path, images: dict[str, np.ndarray]) -> None:
    """Writes arrays as a cached file; where that fails, it warns."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(file, images)
    except OSError as error:
        warnings.warn(f"the cache {file} cannot be written: {first_line(error)}", stacklevel=2)
