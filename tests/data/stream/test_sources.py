"""An image folder as a source: its splits, labels and bytes; a wrong list or layout is named."""

import os

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data.stream import sources
from cnn_jax.errors import UserError


def make(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(os.fsencode(file))
    return root


def test_splits_are_read_in_the_order_of_classes_and_names(tmp_path):
    root = make(tmp_path, "train/b/2.png", "train/b/1.png", "train/a/3.JPEG", "test/b/9.png")
    found = sources.folder(root, None)
    assert list(found) == ["train", "test"]
    assert [found["train"].encoded(i) for i in range(3)] == [
        b"train/a/3.JPEG", b"train/b/1.png", b"train/b/2.png",
    ]  # fmt: skip
    assert found["train"].class_names == ("a", "b") and len(found["train"]) == 3
    np.testing.assert_array_equal(found["train"].labels, [0, 1, 1])
    np.testing.assert_array_equal(found["test"].labels, [1])
    assert found["test"].where(0) == str(root / "test/b/9.png")


def test_class_folders_alone_are_training_images(tmp_path):
    found = sources.folder(make(tmp_path, "a/1.png", "b/1.png", "names.txt"), None)
    assert list(found) == ["train"] and len(found["train"]) == 2


def test_images_are_of_one_channel_where_every_header_is_gray(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / name / "1.png")
    (tmp_path / "a" / "2.png").write_bytes(b"damaged")
    assert sources.folder(tmp_path, None)["train"].channels == 1
    Image.new("RGB", (4, 4)).save(tmp_path / "b" / "2.png")
    assert sources.folder(tmp_path, None)["train"].channels == 3


def test_the_first_image_that_is_not_gray_ends_the_search(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(sources.decode, "says_gray", lambda file: read.append(file) or False)
    sources.folder(make(tmp_path, "a/1.png", "b/1.png"), None)
    assert read == [tmp_path / "a" / "1.png"]


def test_names_that_are_not_utf_8_have_a_checksum(tmp_path):
    source = sources.folder(make(tmp_path, "a/\udcff.png"), None)["train"]
    assert source.checksum() and source.fingerprint()


def test_a_list_of_classes_gives_the_labels(tmp_path):
    root = make(tmp_path / "images", "n2/1.png", "n5/1.png")
    (tmp_path / "list.txt").write_text("n5\ttench\nn1 goldfish, a fish\nn2\n")
    source = sources.folder(root, tmp_path / "list.txt")["train"]
    assert source.class_names == ("n5", "n1", "n2")
    np.testing.assert_array_equal(source.labels, [2, 0])


@pytest.mark.parametrize(
    "text,message",
    [
        ("n2\nn7\n", "has a class 'n5' that .*list.txt lacks"),
        ("n2\nn5\nn2\n", "line 3: 'n2' stands in line 1 too"),
        ("n2\n\nn5\n", "line 2: empty"),
        (b"\xff\xfe\x00", "cannot read the list of classes"),
    ],
)
def test_a_wrong_list_of_classes_is_named(tmp_path, text, message):
    root = make(tmp_path / "images", "n2/1.png", "n5/1.png")
    (tmp_path / "list.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        sources.folder(root, tmp_path / "list.txt")


@pytest.mark.parametrize(
    "files,message",
    [
        (["test/a/1.png"], "but no folder 'train'"),
        (["train/notes.txt"], "no class folders in"),
        (["train/a/1.png", "test/b/1.png"], "has a class 'b' that .*train lacks"),
        (["train/a/1.png", "train/b/.hidden"], "class 'b' has no images"),
        (["train/a/1.png", "test/a/.hidden"], "no images in .*test"),
    ],
)
def test_a_folder_laid_out_otherwise_is_refused_in_one_line(tmp_path, files, message):
    with pytest.raises(UserError, match=message) as caught:
        sources.folder(make(tmp_path, *files), None)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_or_list_is_named(tmp_path):
    with pytest.raises(UserError, match="no folder at data.path"):
        sources.folder(tmp_path / "nothing", None)
    with pytest.raises(UserError, match="cannot read the list of classes"):
        sources.folder(make(tmp_path, "a/1.png"), tmp_path / "nothing")


def test_fake_images_are_noise_of_their_own_or_all_gray():
    noise = sources.fake(examples=10, classes=3, size=6, random=True)
    assert len(noise) == 10 and set(noise.labels) == {0, 1, 2} and len(noise.class_names) == 3
    assert len({noise.encoded(i) for i in range(10)}) == 10
    assert {len(noise.encoded(i)) for i in range(10)} == {6 * 6 * 3}
    gray = sources.fake(examples=10, classes=3, size=6, random=False)
    assert {gray.encoded(i) for i in range(10)} == {bytes([128]) * 108}


def test_a_list_of_classes_beside_the_images_is_taken_where_none_is_named(tmp_path):
    root = make(tmp_path, "n2/1.png", "n5/1.png")
    (root / "synsets.tsv").write_text("n5\ttench\nn1\tgoldfish\nn2\tshark\n")
    source = sources.folder(root, None)["train"]
    assert source.class_names == ("n5", "n1", "n2")
    np.testing.assert_array_equal(source.labels, [2, 0])


# --- images that are left out ------------------------------------------------------------------


def excluding(tmp_path, text, *files):
    root = make(tmp_path / "images", *files)
    (tmp_path / "list.txt").write_text(text)
    return sources.folder(root, None, tmp_path / "list.txt")


def test_listed_images_are_left_out_of_every_split_and_counted(tmp_path):
    files = ["train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/3.png", "test/b/3.png"]
    with pytest.warns(UserWarning, match="1 of 4 images of 'train' are left out"):
        found = excluding(tmp_path, "a/1.png\n\nnot there.png\n", *files)
    assert [found["train"].encoded(i) for i in range(3)] == [
        b"train/a/2.png", b"train/b/1.png", b"train/b/3.png",
    ]  # fmt: skip
    np.testing.assert_array_equal(found["train"].labels, [0, 1, 1])
    assert len(found["test"]) == 1
    assert (
        found["train"].checksum() != sources.folder(tmp_path / "images", None)["train"].checksum()
    )


def test_numbers_are_those_of_imagenets_validation_images(tmp_path):
    files = [f"val/a/ILSVRC2012_val_{number:08d}.JPEG" for number in (36, 50, 360)]
    with pytest.warns(UserWarning, match="2 of 3 images of 'test' are left out"):
        found = excluding(tmp_path, "36\n360\n", "train/a/1.png", *files)
    assert found["test"].where(0).endswith("00000050.JPEG")


@pytest.mark.parametrize(
    "text,message",
    [
        ("3\n", "none of the 1 images that .*list.txt lists"),
        ("1.png\n", "lists all images of 'train'"),
    ],
)
def test_a_list_that_leaves_out_nothing_or_all_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        excluding(tmp_path, text, "a/1.png")
