"""What a stream shows of its sources: shapes, views, splits and facts, from images in memory."""

import io

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data.stream import sources, streamed
from cnn_jax.data.stream.reader import Reading
from cnn_jax.errors import UserError

FULL = {"kind": "full"}
CENTER = {"kind": "center", "resize": 10, "frame": "full", "size": 8}
CENTER |= {"filters": ("bilinear",), "dct_scaling": False}
FIELDS = {"image_size": None, "on_error": "raise", "decoder": "pillow"}
FIELDS |= {"threads": 1, "workers": 2, "prefetch": 3}


def png(width, height, channels=3):
    file, pixels = io.BytesIO(), np.zeros((height, width, channels), np.uint8)
    Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels).save(file, "PNG")
    return file.getvalue()


class Source:
    """Images in memory, of two classes in turn."""

    class_names = ("a", "b")

    def __init__(self, *images, channels=3):
        self.images, self.channels = images, channels
        self.labels = np.arange(len(images), dtype=np.int32) % 2

    def __len__(self):
        return len(self.images)

    def encoded(self, i):
        return self.images[i]

    def where(self, i):
        return f"image {i}"

    def checksum(self):
        return 100 + len(self)


def dataset(*images, channels=3, **changes):
    splits = {"train": Source(*images, channels=channels), "test": Source(png(7, 5))}
    return streamed.StreamedDataset(("a", "b"), splits, **FIELDS | changes)


def test_in_full_all_images_have_the_shape_of_the_first_or_the_size_of_the_data():
    assert dataset(png(6, 4)).images("train", "view.train", FULL).shape == (4, 6, 3)
    assert dataset(png(6, 4, 1), channels=1).images("train", "v", FULL).shape == (4, 6, 1)
    assert dataset(png(6, 4), image_size=9).images("test", "v", FULL).shape == (9, 9, 3)
    assert dataset(png(6, 4, 1), channels=1, image_size=9).images("train", "v", FULL).shape[2] == 1


def test_other_views_are_rgb_of_their_own_size():
    images = dataset(png(6, 4, 1), channels=1, on_error="skip").images("train", "v", CENTER)
    assert images.shape == (8, 8, 3) and images.on_error == "skip"
    assert images.view(images.source.encoded(0), np.random.default_rng(0)).shape == (8, 8, 3)
    assert len(images.source) == 1


@pytest.mark.parametrize(
    "fields,size,told",
    [
        (FULL | {"size": 8}, None, "view.train of the kind 'full' takes no 'size'"),
        (CENTER, 8, "data.image_size is for view.train.kind 'full'; 'center' has a size"),
    ],
)
def test_a_size_is_given_once(fields, size, told):
    with pytest.raises(UserError, match=told):
        dataset(png(6, 4), image_size=size).images("train", "view.train", fields)


def test_the_first_image_that_can_be_decoded_gives_the_shape():
    damaged = (b"damaged", png(6, 4))
    assert dataset(*damaged, on_error="skip").images("train", "v", FULL).shape == (4, 6, 3)
    with pytest.raises(UserError, match="image 0 .*on_error=skip"):
        dataset(*damaged).images("train", "v", FULL)
    with pytest.raises(UserError, match="none of 2 images can be decoded: .*image 1"):
        dataset(b"damaged", b"too", on_error="skip").images("train", "v", FULL)


def test_a_process_reads_as_the_data_says():
    assert dataset(png(6, 4)).reading(4, 5) == Reading(1, 2, 3, process=4, processes=5)


def test_facts_are_names_shape_sizes_and_checksums():
    assert dataset(png(6, 4), png(6, 4)).facts((4, 6, 3)) == {
        "class_names": ["a", "b"],
        "image_shape": [4, 6, 3],
        "examples": {"train": 2, "test": 1},
        "checksum": {"train": 102, "test": 101},
    }


def load(name, validation_size=0, class_list=None, exclude=None, **changes):
    held = {"validation_size": validation_size, "split_seed": 3}
    return streamed.load(name, None, class_list, exclude, **held, **FIELDS | changes)


def test_noise_has_the_size_of_its_view_and_needs_one():
    made = load("fake:40,2")
    images = made.images("train", "v", CENTER)
    assert (images.shape, len(images.source), images.source.size) == ((8, 8, 3), 40, 8)
    assert images.view(images.source.encoded(5), None).shape == (8, 8, 3)
    assert load("fake:40,2", image_size=6).images("test", "v", FULL).shape == (6, 6, 3)
    with pytest.raises(UserError, match="fake images need a size"):
        made.images("train", "v", FULL)


def test_held_out_images_are_those_of_the_seed_with_their_labels():
    made = load("fake:40,2", validation_size=10)
    assert {name: len(source) for name, source in made.splits.items()} == {
        "train": 30,
        "validation": 10,
        "test": 2,
    }
    assert np.bincount(made.splits["validation"].labels).tolist() == [5, 5]
    train = Source(*[bytes([i]) for i in range(12)])
    splits = streamed.hold_out("these", {"train": train}, 4, 3)
    held, rest = splits["validation"], splits["train"]
    assert (len(held), len(rest)) == (4, 8)
    found = [held.encoded(i)[0] for i in range(4)]
    assert held.labels.tolist() == [i % 2 for i in found]
    assert sorted(found + [rest.encoded(i)[0] for i in range(8)]) == list(range(12))
    with pytest.raises(UserError, match="has a validation split of its own .4 images"):
        streamed.hold_out("these", splits, 4, 3)


@pytest.mark.parametrize(
    "name,fields,told",
    [
        ("fake:40,2", {"class_list": "list"}, "data.class_list is for folders"),
        ("tfds:birds", {"exclude": "list"}, "data.exclude is for folders"),
        ("cifar10", {}, "cifar10 is not streamed"),
        ("fake:40,2", {"decoder": "turbo"}, "decoder 'turbo'"),
    ],
)
def test_what_is_not_streamed_is_told(name, fields, told):
    with pytest.raises(UserError, match=told):
        load(name, **fields)


def test_a_folder_is_found_with_its_lists(monkeypatch):
    source = Source(png(6, 4), png(6, 4))
    found = []
    monkeypatch.setattr(sources, "folder", lambda *of: found.append(of) or {"train": source})
    made = load("folder", class_list="classes", exclude="bad")
    assert found == [(None, "classes", "bad")] and made.class_names == ("a", "b")
