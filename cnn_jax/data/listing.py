"""What an image folder has, for every way to read it: its splits, its classes and their files.

`ROOT/<split>/<class>/<image files>`, where splits may have any of their usual names, or
`ROOT/<class>/<image files>`. What systems leave behind in folders, hidden files and whatever else
is no image is left out, and counted in one warning.
"""

import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnn_jax.errors import UserError

# The split, and what people call its folder, in upper or lower case.
FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# What macOS, Windows and network drives leave behind, besides hidden files.
LITTER = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}
CLASS_LIST = "synsets.tsv"  # a line per label, see `find`
LAYOUT = "{train,validation,test}/<class>/<image files>, or as <class>/<image files>"
NAMED = 5  # folders in a message


class Files(NamedTuple):
    """The images of a split, by class and name."""

    root: Path
    names: tuple[str, ...]  # "class/file", relative to root
    labels: np.ndarray  # int32 [N]

    @property
    def paths(self) -> list[Path]:
        """Where the images are."""
        return [self.root / name for name in self.names]


class Listing(NamedTuple):
    """An image folder."""

    class_names: tuple[str, ...]
    splits: dict[str, Files]


class Inside(NamedTuple):
    """What is in a folder, by name, in alphabetical order."""

    folders: list[str]
    images: list[str]
    others: list[str]  # other files
    litter: list[str]  # of the system, or hidden


def find(root: Path | None, class_list: Path | None = None) -> Listing:
    """Lists an image folder; opens no image.

    Args:
      class_list: a text file whose first word in line i is the folder of label i - 1; the rest of
        the line is ignored, and folders may be missing. None takes the file `synsets.tsv` in `root`
        where there is one, else the folders of "train" in alphabetical order.

    Raises:
      UserError: no such folder, or one that cannot be read; no images in a split; a class that
        "train" or the list lacks; without a list, a class that has no images in "train".
    """
    if root is None or not root.is_dir():
        raise UserError(
            f"folder: no folder at data.path = {root}; name one laid out as {LAYOUT} with "
            "--config.data.path=FOLDER"
        )
    if class_list is None and (root / CLASS_LIST).is_file():
        class_list = root / CLASS_LIST
    left_out: list[Path] = []
    folders = find_splits(root, left_out)
    names = read_class_list(class_list) if class_list else classes(folders["train"])
    known = class_list or folders["train"]
    splits = {split: list_files(place, names, known, left_out) for split, place in folders.items()}
    if class_list is None:
        check_classes(names, splits)
    if left_out:
        what = f"{len(left_out):,} files or folders in {root} are no images and are left out"
        warnings.warn(f"folder: {what}, such as {left_out[0]}", stacklevel=2)
    return Listing(names, splits)


def has_train(root: Path) -> bool:
    """Whether a folder has one for the split "train", under any of its names."""
    return root.is_dir() and any(split_of(name) == "train" for name in look(root).folders)


def has_images(root: Path) -> bool:
    """Whether a folder is one that `find` reads, with splits or of classes alone."""
    if not root.is_dir():
        return False
    return has_train(root) or any(look(root / name).images for name in look(root).folders)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or left behind by a system."""
    return name.startswith(".") or name.lower() in LITTER


def look(folder: Path) -> Inside:
    """What is in a folder; raises `UserError` where it cannot be read."""
    inside = Inside([], [], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if is_litter(entry.name):
                    inside.litter.append(entry.name)
                elif entry.is_dir():
                    inside.folders.append(entry.name)
                elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                    inside.images.append(entry.name)
                else:
                    inside.others.append(entry.name)
    except OSError as error:
        raise UserError(f"cannot read the folder {folder} ({error.strerror})") from None
    return inside


def split_of(name: str) -> str | None:
    """The split that a folder's name stands for, if any."""
    return next((split for split, usual in FOLDERS.items() if name.lower() in usual), None)


def find_splits(root: Path, left_out: list[Path]) -> dict[str, Path]:
    """Where the splits are: "train", and "validation" and "test" if any.

    Class folders alone are all "train". Where nothing is called "test", the folder "validation" is
    that split: the papers report on the validation images of ImageNet.

    left_out: what is beside them and no part of the data set is added to it.
    """
    inside, found, others = look(root), {}, []
    for name in inside.folders:
        if (split := split_of(name)) is None:
            others.append(name)
        elif split in found:
            raise UserError(
                f"folder: {root} has both {found[split].name!r} and {name!r}; remove one"
            )
        else:
            found[split] = root / name
    if not found:
        return {"train": root}
    if "train" not in found:
        there = " and ".join(place.name for place in found.values())
        raise UserError(
            f"folder: {root} has {there}, but no folder 'train'; it must be laid out as {LAYOUT}"
        )
    left_out += [root / name for name in (*inside.litter, *inside.images)]
    if others:
        more = ", ..." if len(others) > NAMED else ""
        unused = f"{', '.join(others[:NAMED])}{more}"
        warnings.warn(f"folder: {root} has folders that are not used: {unused}", stacklevel=3)
    if "validation" in found and "test" not in found:
        found["test"] = found.pop("validation")
    return {split: found[split] for split in FOLDERS if split in found}


def classes(train: Path) -> tuple[str, ...]:
    """The folders in "train"."""
    names = tuple(look(train).folders)
    if not names:
        raise UserError(f"folder: no class folders in {train}; it must be laid out as {LAYOUT}")
    return names


def list_files(
    root: Path, class_names: tuple[str, ...], known: Path, left_out: list[Path]
) -> Files:
    """The images of one split; `known` is where the classes are from."""
    label = {name: i for i, name in enumerate(class_names)}
    names, labels, beside = [], [], look(root)
    left_out += [root / name for name in (*beside.litter, *beside.images)]
    for folder in beside.folders:
        if folder not in label:
            raise UserError(f"folder: {root} has a class {folder!r} that {known} lacks")
        inside = look(root / folder)
        names += [f"{folder}/{file}" for file in inside.images]
        labels += [label[folder]] * len(inside.images)
        unused = (*inside.litter, *inside.others, *inside.folders)
        left_out += [root / folder / name for name in unused]
    if not names:
        such = f", only others such as {left_out[-1]}" if left_out else ""
        raise UserError(f"folder: no images in {root}{such}; it must be laid out as {LAYOUT}")
    return Files(root, tuple(names), np.array(labels, np.int32))


def check_classes(class_names: tuple[str, ...], splits: dict[str, Files]) -> None:
    """Raises `UserError` for a class without training images; warns of one without others."""
    for split, (root, _, labels) in splits.items():
        counts = np.bincount(labels, minlength=len(class_names))
        if counts.all():
            continue
        empty = class_names[int(np.argmin(counts))]
        if split == "train":
            raise UserError(
                f"folder: class {empty!r} has no images in {root}; add some or remove its folders"
            )
        missing = f"{np.sum(counts == 0):,} of {len(class_names):,} classes, such as {empty!r}"
        warnings.warn(f"folder: {root} has no images of {missing}", stacklevel=3)


def read_class_list(path: Path) -> tuple[str, ...]:
    """The first word of each line. Raises `UserError` for a file that cannot be a list."""
    names: dict[str, int] = {}
    for number, line in enumerate(read_lines(path, "classes"), 1):
        if not line.strip():
            raise UserError(f"{path}, line {number}: empty; line i names the class of label i - 1")
        name = line.split()[0]
        if name in names:
            raise UserError(f"{path}, line {number}: {name!r} stands in line {names[name]} too")
        names[name] = number
    if not names:
        raise UserError(f"{path} names no class; line i names the class of label i - 1")
    return tuple(names)


def read_lines(path: Path, of_what: str) -> list[str]:
    """The lines of a list in UTF-8, with a byte-order mark or without."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return list(file)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list of {of_what} {path}: {error}") from None
