"""CIFAR-10 and CIFAR-100: the published binary archive, or a folder of images."""

import tarfile
from pathlib import Path

import numpy as np

from cnn_jax.data import folder
from cnn_jax.data.dataset import Dataset, Split
from cnn_jax.errors import UserError, first_line

# label bytes before the 3,072 of an image; which of them is the label; training files; class names
LAYOUTS = {
    "cifar10": (1, 0, [f"data_batch_{i}.bin" for i in range(1, 6)], "batches.meta.txt"),
    "cifar100": (2, 1, ["train.bin"], "fine_label_names.txt"),
}
TEST_FILES = {"cifar10": "test_batch.bin", "cifar100": "test.bin"}


def load_cifar10(path: Path | None, image_size: int | None) -> Dataset:
    """uint8 [N, 32, 32, 3] from `path`, see `load`."""
    return load("cifar10", path, image_size)


def load_cifar100(path: Path | None, image_size: int | None) -> Dataset:
    """uint8 [N, 32, 32, 3] from `path`, with the 100 fine labels; see `load`."""
    return load("cifar100", path, image_size)


def load(name: str, path: Path | None, image_size: int | None) -> Dataset:
    """Reads the data set from what is at `path`.

    That is the published archive (`cifar-10-binary.tar.gz`), a folder that has it, or the image
    folder `{train,test}/<class>/*.png`.
    """
    archive = f"{name[:5]}-{name[5:]}-binary.tar.gz"
    if path is not None and (path / "train").is_dir():
        return folder.load(path, image_size)
    file = path / archive if path is not None and path.is_dir() else path
    if file is None or not file.is_file():
        raise UserError(
            f"{name}: nothing at data.path = {path}. Download {archive} from "
            "https://www.cs.toronto.edu/~kriz/cifar.html and name the file, or its folder, with "
            "--config.data.path=PATH; a folder {train,test}/<class>/*.png does too"
        )
    try:
        return read_archive(name, file)
    except (tarfile.TarError, OSError, EOFError, KeyError, ValueError) as error:
        raise UserError(f"{name}: cannot read {file} ({first_line(error)}); get it again") from None


def read_archive(name: str, file: Path) -> Dataset:
    """Reads the binary archive: records of label bytes, then a 32x32 image plane by plane."""
    label_bytes, label_at, train_files, names_file = LAYOUTS[name]
    with tarfile.open(file) as tar:
        content = {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}

    def split(files: list[str]) -> Split:
        raw = np.frombuffer(b"".join(content[f] for f in files), np.uint8)
        records = raw.reshape(-1, label_bytes + 3072)
        images = records[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return Split(np.ascontiguousarray(images), records[:, label_at].astype(np.int32))

    class_names = tuple(content[names_file].decode().split())
    return Dataset(class_names, {"train": split(train_files), "test": split([TEST_FILES[name]])})
