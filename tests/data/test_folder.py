"""A folder's images in memory, and the file that keeps them."""

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data import folder
from cnn_jax.errors import UserError


@pytest.fixture
def files(tmp_path):
    """Images of 3x2 pixels: a gray one of 10s, and one of color."""
    gray, color = np.full((2, 3), 10, np.uint8), np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    found = []
    for name, pixels in {"gray": gray, "color": color}.items():
        found.append(tmp_path / f"{name}.png")
        Image.fromarray(pixels).save(found[-1])
    return found


def test_one_image_is_a_data_set_and_gray_where_all_are(files):
    found = folder.decode_all({"train": files[:1]}, None)
    assert found["train"].shape == (1, 2, 3, 1) and (found["train"] == 10).all()
    found = folder.decode_all({"train": files[1:], "test": files}, None)
    assert {split: own.shape for split, own in found.items()} == {
        "train": (1, 2, 3, 3),
        "test": (2, 2, 3, 3),
    }
    assert found["train"].ravel().tolist() == found["test"][1].ravel().tolist() == list(range(18))
    assert (found["test"][0] == 10).all()
    assert folder.decode_all({"train": files}, (5, 4))["train"].shape == (2, 5, 4, 3)


def test_images_of_another_height_or_width_are_named_with_both_sizes(files, tmp_path):
    for size in ((3, 3), (4, 2)):
        Image.new("L", size).save(tmp_path / "other.png")
        told = f"other.png is {size[0]}x{size[1]} pixels and .*gray.png is 3x2"
        with pytest.raises(UserError, match=told):
            folder.decode_all({"train": [*files, tmp_path / "other.png"]}, None)


def test_a_cache_is_of_the_names_sizes_and_times_of_the_files_and_of_the_image_size(files):
    root, given = files[0].parent, {"train": files}
    first = folder.fingerprint(root, given, None)
    assert first.startswith(f"{root.name}-") and len(first) == len(root.name) + 33
    assert folder.fingerprint(root, given, None) == first
    others = [folder.fingerprint(root, given, 8), folder.fingerprint(root, {"a": files[:1]}, None)]
    files[1].write_bytes(files[1].read_bytes() + b"1")
    others.append(folder.fingerprint(root, given, None))
    assert first not in others and len(set(others)) == 3


def test_what_is_cached_is_read_again_and_what_is_damaged_or_missing_is_none(tmp_path):
    file = tmp_path / "a" / "b" / "cache.npz"
    assert folder.read_cache(file) is None
    folder.write_cache(file, {"train": np.arange(3)})
    assert folder.read_cache(file)["train"].tolist() == [0, 1, 2]
    folder.write_cache(file, {"train": np.arange(2)})  # its folder is there already
    assert folder.read_cache(file)["train"].tolist() == [0, 1]
    file.write_bytes(b"")
    assert folder.read_cache(file) is None
    with pytest.warns(UserWarning, match="cannot be written"):
        folder.write_cache(file / "c.npz", {})
