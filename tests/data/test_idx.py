"""IDX files, byte by byte."""

import gzip

import numpy as np
import pytest

from cnn_jax.data import idx
from cnn_jax.errors import UserError

SHAPE, VALUES = (2, 1, 3), bytes([7, 0, 255, 1, 2, 3])
HEADER = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in SHAPE)


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_file_has_a_header_its_shape_and_its_values(is_packed, tmp_path):
    content = HEADER + VALUES
    (tmp_path / "file").write_bytes(gzip.compress(content) if is_packed else content)
    assert idx.read(tmp_path / "file").tolist() == [[[7, 0, 255]], [[1, 2, 3]]]


@pytest.mark.parametrize(
    "content,told",
    [
        (b"\0\0\x09" + HEADER[3:] + VALUES, "no IDX file of bytes"),
        (b"\0\1\x08" + HEADER[3:] + VALUES, "no IDX file of bytes"),
        (HEADER + VALUES[:-1], r"5 values in place of \[2, 1, 3\]"),
        (HEADER + VALUES + b"\0", r"7 values in place of \[2, 1, 3\]"),
        (HEADER[:-1], ""),
    ],
)
def test_another_file_is_named(content, told, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=f"cannot read .*file .*{told}.*get the file again"):
        idx.read(tmp_path / "file")


def test_the_published_file_is_read_before_the_one_unpacked_from_it(tmp_path):
    with pytest.raises(UserError, match="has no labels.gz. mnist is four files"):
        idx.find("mnist", tmp_path, "labels")
    for name in ("labels", "labels.gz"):
        (tmp_path / name).touch()
        assert idx.find("mnist", tmp_path, "labels") == tmp_path / name


@pytest.mark.parametrize("size", [None, 4])
def test_train_and_t10k_are_the_splits_of_images_and_their_labels(size, tmp_path):
    def write(name, array):
        shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
        content = bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()
        (tmp_path / f"{name}-ubyte").write_bytes(content)

    for count, prefix in enumerate(("train", "t10k"), 10):
        labels = np.arange(count, dtype=np.uint8) % 10
        write(f"{prefix}-labels-idx1", labels)
        write(f"{prefix}-images-idx3", np.repeat(labels, 6).reshape(count, 2, 3))
    dataset = idx.load("fashion_mnist", tmp_path, size)
    assert dataset.class_names == idx.CLASSES["fashion_mnist"] and len(dataset.class_names) == 10
    height, width = (2, 3) if size is None else (size, size)
    assert {name: split.images.shape for name, split in dataset.splits.items()} == {
        "train": (10, height, width, 1),
        "test": (11, height, width, 1),
    }
    for images, labels in dataset.splits.values():
        assert (images == labels[:, None, None, None]).all()


def test_a_path_that_is_no_folder_is_told_with_where_to_get_the_files(tmp_path):
    for path in (None, tmp_path / "nothing"):
        with pytest.raises(UserError, match="mnist: no folder at data.path = .*yann.lecun.com"):
            idx.load("mnist", path)
