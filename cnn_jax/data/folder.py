"""A folder of images as a data set: `root/{train,validation,test}/<class>/*.png|jpg`.

The splits are those of `split_folders`. Files with other endings are ignored. The first read
decodes every file and keeps the arrays as one file in the user's cache folder, under a fingerprint
of the names, sizes and modification times of all files: a folder that has changed is read anew.
"""

import hashlib
import os
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cnn_jax.data.dataset import Dataset, Split, check_memory
from cnn_jax.data.decode import BadImage, full
from cnn_jax.errors import UserError, first_line
from cnn_jax.files import cache_folder, write_arrays

SUFFIXES = {".png", ".jpg", ".jpeg"}
SPLITS = ("train", "validation", "test")
FOLDERS = ("train", "val", "validation", "test")
CLASS_LIST = "synsets.tsv"  # a line per label, see `sources.folder`
LAYOUT = "{train,validation,test}/<class>/*.png (or .jpg), or as <class>/*.png"


def load(path: Path | None, image_size: int | None) -> Dataset:
    """Reads the folder: uint8 [N, H, W, C], gray (C = 1) where every file is, else RGB.

    Classes are the names of the folders in "train", in alphabetical order. Raises `UserError` for a
    missing folder, no images, an empty class, a damaged file, images of different sizes, or a
    list of classes.
    """
    if path is None or not path.is_dir():
        raise UserError(
            f"folder: no folder at data.path = {path}; name one laid out as {LAYOUT} with "
            "--config.data.path=FOLDER"
        )
    if (path / CLASS_LIST).is_file():
        raise UserError(
            f"folder: {path / CLASS_LIST} lists the classes, which is for streams: set "
            "--config.data.storage=stream"
        )
    class_names, files = find_images(path)
    cache = cache_folder("folders") / f"{fingerprint(path, files, image_size)}.npz"
    images = read_cache(cache)
    if images is None:
        size = None if image_size is None else (image_size, image_size)
        images = decode_all(files, size)
        write_cache(cache, images)
    label = {name: i for i, name in enumerate(class_names)}
    splits = {}
    for name, members in files.items():
        labels = np.array([label[file.parent.name] for file in members], np.int32)
        splits[name] = Split(images[name], labels)
    return Dataset(class_names, splits)


def split_folders(root: Path) -> dict[str, Path]:
    """Where the splits of an image folder are: "train", and "validation" and "test" if any.

    Class folders alone are all "train". Where nothing is called "test", the folder "validation",
    or "val", is that split: the papers report on the validation images of ImageNet.
    """
    found = {name: root / name for name in FOLDERS if (root / name).is_dir()}
    if not found:
        return {"train": root}
    if "train" not in found:
        raise UserError(
            f"folder: {root} has {' and '.join(found)}, but no folder 'train'; it must be laid "
            f"out as {LAYOUT}"
        )
    if "val" in found:
        if "validation" in found:
            raise UserError(f"folder: {root} has both 'val' and 'validation'; remove one")
        found["validation"] = found.pop("val")
    if "validation" in found and "test" not in found:
        found["test"] = found.pop("validation")
    return {split: found[split] for split in SPLITS if split in found}


def find_images(root: Path) -> tuple[tuple[str, ...], dict[str, list[Path]]]:
    """The class names, and the image files of each split in a fixed order."""
    folders = split_folders(root)
    train = folders["train"]
    names = (d.name for d in train.iterdir() if d.is_dir() and not d.name.startswith("."))
    class_names = tuple(sorted(names))
    files = {}
    for split, place in folders.items():
        found = {d.name: d for d in place.iterdir() if d.is_dir() and not d.name.startswith(".")}
        if extra := sorted(set(found) - set(class_names)):
            raise UserError(f"folder: {place} has classes that 'train' lacks: {extra}")
        files[split] = []
        for name in class_names:
            inside = found[name].iterdir() if name in found else ()
            members = sorted(file for file in inside if file.suffix.lower() in SUFFIXES)
            if not members:
                raise UserError(
                    f"folder: class {name!r} has no images in {place}; "
                    "add some (.png, .jpg) or remove the class from every split"
                )
            files[split] += members
    if not class_names:
        raise UserError(f"folder: no images in {train}; it must be laid out as {LAYOUT}")
    return class_names, files


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
    digest = hashlib.sha256(f"{image_size}".encode())
    for members in files.values():
        for file in members:
            stat = file.stat()
            digest.update(f"{file.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return f"{root.name}-{digest.hexdigest()[:32]}"


def read_cache(file: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a cached file by name; None where there is none, or a damaged one."""
    try:
        with np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def write_cache(file: Path, images: dict[str, np.ndarray]) -> None:
    """Writes arrays as a cached file; where that fails, it warns."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(file, images)
    except OSError as error:
        warnings.warn(f"the cache {file} cannot be written: {first_line(error)}", stacklevel=2)
