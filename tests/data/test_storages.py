"""One folder is one data set, whether it is held in memory, streamed, or prepared before."""

import numpy as np
import pytest
from PIL import Image

from cnn_jax import data
from cnn_jax.data.stream import reader
from tests.data.prepare.preparing import prepare_all

RAMP = np.arange(30, dtype=np.uint8).reshape(5, 6) * 8
RGB = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)


def save(image, *files):
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file)


def gray(root):
    save(Image.fromarray(RAMP), root / "train/a/1.png", root / "train/b/1.png")


def gray_of_16_bits(root):
    save(Image.fromarray(RAMP.astype(np.uint16) * 257), root / "train/a/1.png")
    save(Image.fromarray(RAMP), root / "train/b/1.png")


def gray_with_alpha(root):
    save(Image.fromarray(RAMP).convert("LA"), root / "train/a/1.png", root / "train/b/1.png")


def gray_and_color(root):
    save(Image.fromarray(RAMP), root / "train/a/1.png", root / "test/a/1.png")
    save(Image.fromarray(RGB), root / "train/b/1.png")


def a_class_missing_in_test(root):
    save(Image.fromarray(RGB), root / "train/a/1.png", root / "train/b/1.png")
    save(Image.fromarray(RGB[::-1]), root / "test/b/1.png")


def litter(root):
    save(Image.fromarray(RGB), root / "Training/a/1.png", root / "Training/b/1.png")
    save(Image.fromarray(RGB), root / "valid/a/1.png", root / "valid/b/1.png")
    for name in ("._1.png", ".DS_Store", "Thumbs.db", "notes.txt"):
        (root / "Training/a" / name).write_bytes(b"no image")


def other_suffixes(root):
    save(Image.fromarray(RGB), root / "train/a/1.bmp", root / "train/a/2.tif")
    save(Image.fromarray(RGB), root / "train/b/1.gif", root / "train/b/2.PNG")


def class_folders_alone(root):
    save(Image.fromarray(RGB), root / "a/1.png", root / "b/1.png")


def listed_classes(root):
    save(Image.fromarray(RGB), root / "train/a/1.png", root / "train/b/1.png")
    (root / "synsets.tsv").write_bytes("b\tbee\na\tape\nc\tcow\n".encode("utf-8-sig"))


MAKERS = [gray, gray_of_16_bits, gray_with_alpha, gray_and_color, a_class_missing_in_test, litter,
          other_suffixes, class_folders_alone, listed_classes]  # fmt: skip


def opened(name, path, storage):
    files = {"path": str(path), "image_size": None, "class_list": None, "exclude": None}
    reading = {"on_error": "raise", "decoder": "pillow", "threads": 1, "workers": 0, "prefetch": 1}
    split = {"validation_size": 0, "split_seed": 0}
    return data.open(name, storage=storage, **files, **reading, **split)


def pixels(dataset, split):
    """All images of a split, and their labels."""
    if isinstance(dataset, data.Dataset):
        return dataset.splits[split]
    images = dataset.images(split, "view.train", {"kind": "full"})
    numbers = range(len(images.source))
    seen = [images.look(i, np.random.default_rng(0), reader.Bad()) for i in numbers]
    return np.stack(seen), images.source.labels


@pytest.mark.filterwarnings("ignore:folder")
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_folder_is_the_same_data_set_by_every_storage(make, tmp_path):
    make(tmp_path / "set")
    prepare_all("set", tmp_path / "set", tmp_path / "tfds")
    kinds = [("folder", tmp_path / "set"), ("tfds:set", tmp_path / "tfds")]
    first, *others = (opened(*kind, s) for kind in kinds for s in ("device", "stream"))
    assert first.class_names[:2] in {("a", "b"), ("b", "a")}
    assert first.image_shape == (5, 6, 1 if "gray_of" in make.__name__ or make is gray
                                 or make is gray_with_alpha else 3)  # fmt: skip
    for other in others:
        assert other.class_names == first.class_names and set(other.splits) == set(first.splits)
        for split in first.splits:
            for own, expected in zip(pixels(other, split), first.splits[split], strict=True):
                np.testing.assert_array_equal(own, expected)
