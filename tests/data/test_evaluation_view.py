"""What an evaluation cuts out of an image, pixel by pixel, and what it says about it."""

import numpy as np
import pytest

from cnn_jax.data import decode, evaluation_view
from cnn_jax.data.evaluation_view import EvaluationView
from cnn_jax.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
CENTER = {"kind": "center", "size": 2, "resize": 4, "frame": "full", "filters": ["nearest"]}
CENTER["dct_scaling"] = False
FULL = {"kind": "full"}


def view(size=None, channels=3, resize=None, square=False, dct_scaling=False):
    return EvaluationView(size, channels, resize, square, "nearest", dct_scaling)


def test_the_group_of_a_config_is_its_view():
    found = evaluation_view.create({"train": FULL, "evaluation": CENTER}, (9, 9, 1))
    assert found == ((2, 2), 3, 4, False, "nearest", False)
    group = CENTER | {"frame": "squash", "dct_scaling": True, "filters": ["box", "nearest"]}
    found = evaluation_view.create({"train": FULL, "evaluation": group}, (9, 9, 3))
    assert found == ((2, 2), 3, 4, True, "box", True)


@pytest.mark.parametrize(
    "group,size",
    [
        ({}, (4, 6)),
        ({"train": FULL, "evaluation": FULL}, (4, 6)),
        ({"train": CENTER, "evaluation": FULL}, None),  # of images of any size
    ],
)
def test_a_full_view_has_the_size_that_the_network_was_trained_on_if_there_is_one(group, size):
    assert evaluation_view.create(group, (4, 6, 1)) == (size, 1, None, False, "bilinear", False)


@pytest.mark.parametrize("group", [{"train": FULL}, {"evaluation": {}}, {"evaluation": "full"}])
def test_a_group_that_is_no_view_is_told(group):
    with pytest.raises(UserError, match="config.view.evaluation is no view"):
        evaluation_view.create(group, (4, 6, 3))


def test_the_center_is_cut_out_of_the_resized_image():
    image = decode.from_array(PIXELS)
    found = view((2, 2), resize=4).cut(image)  # its shorter side has four pixels
    np.testing.assert_array_equal(found, PIXELS[1:3, 2:4])
    found = view((2, 2), resize=4, square=True).cut(image)
    np.testing.assert_array_equal(found, PIXELS[1:3, [2, 3]])
    wide = decode.from_array(np.repeat(PIXELS, 2, 1))  # 12 x 4, squashed to 4 x 4
    found = view((2, 2), resize=4, square=True).cut(wide)
    np.testing.assert_array_equal(found, np.repeat(PIXELS, 2, 1)[1:3, [4, 7]])


def test_a_full_view_is_all_of_the_image_in_the_channels_of_the_network():
    image = decode.from_array(PIXELS)
    np.testing.assert_array_equal(view().cut(image), PIXELS)
    assert view((3, 5)).cut(image).shape == (3, 5, 3)
    gray = view(channels=1).cut(image)
    np.testing.assert_array_equal(gray[..., 0], np.asarray(image.convert("L")))
    assert (view().mode, view(channels=1).mode) == ("RGB", "L")
    assert view(channels=3).cut(decode.from_array(gray)).shape == (4, 6, 3)


@pytest.mark.parametrize("scaled", [False, True])
def test_large_jpegs_are_shrunk_where_the_view_says_so(scaled, monkeypatch):
    asked = []

    def shrunk(image, box, size):
        asked.append((image.size, box, size))
        return (0, 0, 2, 2)

    monkeypatch.setattr(evaluation_view.views, "shrunk", shrunk)
    found = view((2, 2), resize=4, dct_scaling=scaled).cut(decode.from_array(PIXELS))
    assert asked == ([((6, 4), (2, 1, 4, 3), 2)] if scaled else [])
    np.testing.assert_array_equal(found, PIXELS[:2, :2] if scaled else PIXELS[1:3, 2:4])


def test_an_array_of_the_size_of_the_view_is_taken_as_it_is():
    for own in (view(), view((4, 6))):
        assert own.cut_array(PIXELS) is PIXELS
    assert view((2, 3)).cut_array(PIXELS).shape == (2, 3, 3)
    assert view((4, 6), resize=6).cut_array(PIXELS).shape == (4, 4, 3)


GRAY = np.repeat(PIXELS[..., :1], 3, -1)


@pytest.mark.parametrize(
    "pixels,own,told",
    [
        (PIXELS, view(), []),
        (PIXELS, view((4, 6)), []),
        (PIXELS, view(channels=1), ["its color was dropped"]),
        (GRAY, view(channels=1), []),
        (GRAY[..., :1], view(channels=1), []),
        (PIXELS, view((4, 5)), ["it was resized to the 5x4 pixels"]),
        (PIXELS, view((4, 5), resize=5), []),
        (PIXELS, view((3, 3), 1), ["its color was dropped", "it was resized to the 3x3 pixels"]),
    ],
)
def test_what_the_network_does_not_know_of_an_image_is_told(pixels, own, told):
    found = own.changes(decode.from_array(pixels))
    assert [line[: len(start)] for line, start in zip(found, told, strict=True)] == told


@pytest.mark.parametrize("orientation", ["stored", "exif"])
@pytest.mark.parametrize("is_turned", [False, True])
def test_an_image_is_turned_and_that_is_told_where_it_is_asked_for(
    orientation, is_turned, monkeypatch, tmp_path
):
    decode.from_array(PIXELS).save(tmp_path / "a.png")
    turned = decode.from_array(PIXELS[::-1])
    monkeypatch.setattr(decode, "upright", lambda image: turned if is_turned else image)
    found, changes = view().read(tmp_path / "a.png", orientation)
    is_changed = is_turned and orientation == "exif"
    np.testing.assert_array_equal(found, PIXELS[::-1] if is_changed else PIXELS)
    assert changes == (["turned as its EXIF orientation says"] if is_changed else [])


def test_a_file_that_cannot_be_read_or_decoded_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot read the image .*a.png .No such file"):
        view().read(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"a")
    with pytest.raises(UserError, match="cannot decode the image .*a.png"):
        view().read(tmp_path / "a.png")
