"""Folders as people bring them: usual names of splits, litter of systems, odd names; one rule."""

import re
import warnings

import numpy as np
import pytest

from cnn_jax.data import listing
from cnn_jax.errors import UserError


def make(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def names(root):
    return {split: files.names for split, files in listing.find(root).splits.items()}


@pytest.mark.parametrize(
    "folders,splits",
    [
        (["train"], ["train"]),
        (["Train"], ["train"]),
        (["TRAINING", "Testing"], ["train", "test"]),
        (["train", "valid"], ["train", "test"]),
        (["train", "val"], ["train", "test"]),
        (["train", "dev", "test"], ["train", "validation", "test"]),
        (["Train", "Validation", "Test"], ["train", "validation", "test"]),
    ],
)
def test_splits_may_have_any_usual_name(tmp_path, folders, splits):
    make(tmp_path, *(f"{folder}/a/{i}.png" for i, folder in enumerate(folders)))
    found = listing.find(tmp_path).splits
    assert list(found) == splits
    assert {found[split].root.name for split in splits} == set(folders)


def test_two_folders_for_one_split_are_refused(tmp_path):
    make(tmp_path, "train/a/1.png", "val/a/1.png", "valid/a/1.png")
    with pytest.raises(UserError, match="both 'val' and 'valid'; remove one"):
        listing.find(tmp_path)


def test_a_folder_beside_the_splits_is_named(tmp_path):
    make(tmp_path, "train/a/1.png", "unlabeled/1.png", "extra/a/1.png")
    with pytest.warns(UserWarning, match="has folders that are not used: extra, unlabeled"):
        assert names(tmp_path) == {"train": ("a/1.png",)}


LITTER = [
    "train/a/._1.png", "train/a/.DS_Store", "train/a/Thumbs.db", "train/a/desktop.ini",
    "train/__MACOSX/a/1.png", "__MACOSX/train/a/._1.png", ".git/config",
    "train/.ipynb_checkpoints/1.png",
]  # fmt: skip


def test_what_systems_leave_behind_is_left_out_and_counted_once(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/1.png", *LITTER)
    with pytest.warns(UserWarning) as caught:
        assert names(tmp_path) == {"train": ("a/1.png", "b/1.png")}
    (line,) = [str(warning.message) for warning in caught]
    assert re.search(r"8 files or folders in .* are no images and are left out, such as", line)


def test_files_that_are_no_images_are_named_and_images_where_none_belong(tmp_path):
    make(tmp_path, "a/1.png", "a/boxes.txt", "a/more/2.png", "3.png", "README.md", "classes.txt")
    with pytest.warns(UserWarning, match="3 files or folders"):
        assert names(tmp_path) == {"train": ("a/1.png",)}


def test_a_clean_folder_warns_of_nothing(tmp_path):
    make(tmp_path, "train/a/1.png", "test/a/1.JPG", "README.md")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert names(tmp_path) == {"train": ("a/1.png",), "test": ("a/1.JPG",)}


def test_a_class_that_is_missing_in_the_test_split_is_named(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/1.png", "test/b/1.png")
    with pytest.warns(UserWarning, match="test has no images of 1 of 2 classes, such as 'a'"):
        assert listing.find(tmp_path).splits["test"].labels.tolist() == [1]


def test_an_empty_class_folder_is_refused_in_train(tmp_path):
    make(tmp_path, "train/a/1.png", "test/a/1.png")
    (tmp_path / "train" / "b").mkdir()
    with pytest.raises(UserError, match="class 'b' has no images in .*train"):
        listing.find(tmp_path)


def test_a_class_whose_images_lie_deeper_names_what_is_there(tmp_path):
    make(tmp_path, "train/n01443537/images/0.JPEG", "train/n01443537/boxes.txt")
    with pytest.raises(UserError, match=r"no images in .*train, only others such as .*n01443537/"):
        listing.find(tmp_path)


def test_a_list_of_classes_may_begin_with_a_byte_order_mark(tmp_path):
    make(tmp_path, "n2/1.png", "n5/1.png")
    (tmp_path / "synsets.tsv").write_bytes("n5\ttench\r\nn2\tshark\r\n".encode("utf-8-sig"))
    found = listing.find(tmp_path)
    assert found.class_names == ("n5", "n2")
    np.testing.assert_array_equal(found.splits["train"].labels, [1, 0])


def test_odd_names_are_names(tmp_path):
    odd = ["[b]", "a b", "ä", "\udcff", "-x", "%s", "{y}", "\n"]
    make(tmp_path, *(f"{name}/{name}.png" for name in odd))
    found = listing.find(tmp_path)
    assert found.class_names == tuple(sorted(odd))
    assert all(path.is_file() for path in found.splits["train"].paths)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(listing.os, "scandir", refuse)
    with pytest.raises(UserError, match=f"cannot read the folder {tmp_path} .Permission denied"):
        listing.find(tmp_path)
