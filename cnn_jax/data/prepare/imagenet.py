"""ImageNet (ILSVRC2012) from the published archives, which are read in place.

The training tar has a tar for each synset. Nothing is unpacked: one pass over the headers notes
where each image lies. Label i is the i-th synset in alphabetical order, as everywhere but in the
development kit, whose own numbers `meta.mat` translates.
"""

import io
import tarfile
from pathlib import Path

import numpy as np

from cnn_jax.data import listing, packed
from cnn_jax.data.prepare.images import TarExamples
from cnn_jax.errors import UserError, first_line

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
HOW_TO_GET = (
    f"imagenet2012 is {TRAIN}, {VALIDATION} and {DEVKIT}.tar.gz (or unpacked), from "
    "https://image-net.org/download-images, for those who have an account; put them into one folder"
)


def read(path: Path) -> tuple[tuple[str, ...], dict[str, TarExamples], list[Path]]:
    """The synsets in the order of their labels, "train" and "validation", and the files read."""
    devkit = next((d for d in (path / DEVKIT, path / f"{DEVKIT}.tar.gz") if d.exists()), None)
    missing = [name for name in (TRAIN, VALIDATION) if not (path / name).is_file()]
    missing += [] if devkit else [f"{DEVKIT}.tar.gz"]
    if missing:
        raise UserError(f"imagenet2012: {path} has no {missing[0]}. {HOW_TO_GET}")
    try:
        synsets, truth = read_devkit(devkit)
        splits = {
            "train": index_train(path / TRAIN, synsets),
            "validation": index_validation(path / VALIDATION, truth),
        }
    except UserError:
        raise
    except Exception as error:  # gzip and tarfile raise about anything at damaged files
        raise UserError(
            f"imagenet2012: cannot read what is in {path} ({first_line(error)}); get it again"
        ) from None
    files = sorted((devkit / "data").iterdir()) if devkit.is_dir() else [devkit]
    return synsets, splits, [path / TRAIN, path / VALIDATION, *files]


def read_devkit(devkit: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """The synsets in alphabetical order, and the label of each validation image, int32 [50000]."""
    from scipy.io import loadmat

    wanted = {name: read_member(devkit, f"data/{name}") for name in ("meta.mat", TRUTH)}
    try:
        meta = loadmat(io.BytesIO(wanted["meta.mat"]), squeeze_me=True)["synsets"]
        by_number = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(meta)}
        # Numbers above those of the leaves are inner nodes of the hierarchy, without images.
        leaves = [int(row["ILSVRC2012_ID"]) for row in meta if int(row["num_children"]) == 0]
        synsets = tuple(sorted(by_number[number] for number in leaves))
        label = {number: synsets.index(by_number[number]) for number in leaves}
        truth = np.array([label[int(word)] for word in wanted[TRUTH].split()], np.int32)
    # scipy raises about anything at bytes that are no .mat
    except Exception as error:
        raise UserError(
            f"imagenet2012: the development kit {devkit} is not as published "
            f"({type(error).__name__}: {first_line(error)}); get it again"
        ) from None
    return synsets, truth


def read_member(devkit: Path, name: str) -> bytes:
    """The bytes of a file of the development kit, which may be unpacked."""
    if devkit.is_dir():
        if not (devkit / name).is_file():
            raise UserError(f"imagenet2012: {devkit} has no {name}. {HOW_TO_GET}")
        return (devkit / name).read_bytes()
    # All of it is read: the checksum stands at its end.
    found = [data for member, data in packed.read_tar(devkit) if member.endswith(name)]
    if not found:
        raise UserError(f"imagenet2012: {devkit} has no {name}; get it again")
    return found[0]


def index_train(file: Path, synsets: tuple[str, ...]) -> TarExamples:
    """Notes where each training image lies in the tars inside the tar."""
    label = {synset: i for i, synset in enumerate(synsets)}
    names, places, labels = [], [], []
    with tarfile.open(file, "r:") as outer:
        for tar in sorted(files_in(outer), key=lambda member: member.name):
            synset = Path(tar.name).stem
            if synset not in label:
                raise UserError(f"imagenet2012: {file} has {tar.name}, no synset of the kit")
            with tarfile.open(fileobj=outer.extractfile(tar), mode="r:") as inner:
                for image in files_in(inner):
                    names.append(f"{synset}/{image.name}")
                    places.append((tar.offset_data + image.offset_data, image.size))
                    labels.append(label[synset])
    return TarExamples(file, names, as_places(places), np.array(labels, np.int32))


def index_validation(file: Path, truth: np.ndarray) -> TarExamples:
    """Notes where each validation image lies; the n-th by name has the n-th label."""
    with tarfile.open(file, "r:") as tar:
        members = sorted(files_in(tar), key=lambda member: member.name)
    if len(members) != len(truth):
        raise UserError(
            f"imagenet2012: {file} has {len(members):,} images and {TRUTH} {len(truth):,} labels; "
            "they do not belong together"
        )
    places = [(member.offset_data, member.size) for member in members]
    return TarExamples(file, [m.name for m in members], as_places(places), truth)


def files_in(tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """The files in a tar, without what macOS leaves in those that it makes.

    Raises `ValueError` for a damaged header, which tarfile takes for the end.
    """
    files = [m for m in tar if m.isfile() and not listing.is_litter(Path(m.name).name)]
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise ValueError(f"the header after its {len(files):,} files is damaged")
    return files


def as_places(places: list[tuple[int, int]]) -> np.ndarray:
    """Offsets and sizes as int64 [N, 2], for N = 0 too."""
    return np.array(places, np.int64).reshape(-1, 2)
