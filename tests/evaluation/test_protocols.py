"""Views of each protocol are those of an independent construction by Pillow or torchvision."""

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data.decode import BadImage
from cnn_jax.errors import UserError
from cnn_jax.evaluation import protocols

BILINEAR = Image.Resampling.BILINEAR


def photo(width, height, mode="RGB"):
    """Smooth, so that resizing at one stroke and in two steps can be told from a shift."""
    x, y = np.meshgrid(np.linspace(0, 7, width), np.linspace(0, 5, height))
    waves = np.stack([np.sin(x + y), np.cos(2 * x - y), np.sin(3 * y)], -1)
    image = Image.fromarray((127 + 120 * waves).astype(np.uint8))
    return image.convert(mode)


def views_of(protocol, image):
    return [protocol.views(part, image) for part in protocol.parts]


def resized(image, shorter):
    """The whole image, as torchvision's Resize."""
    width, height = image.size
    least = min(width, height)
    return image.resize((shorter * width // least, shorter * height // least), BILINEAR)


def cut(image, left, top, size):
    return np.asarray(image.crop((left, top, left + size, top + size))).astype(int)


def test_center_is_the_central_crop_of_the_resized_image():
    protocol = protocols.create("center", crop=64, resize=80)
    ((view,),) = views_of(protocol, photo(150, 100))
    assert np.abs(view - cut(resized(photo(150, 100), 80), 28, 8, 64)).max() <= 1
    assert protocol.views_of_each == 1
    assert protocol.about == "shorter side to 80 (bilinear), central crop 64x64"


def test_center_of_a_square_resizes_both_sides_as_caffe_does():
    protocol = protocols.create("center", crop=64, resize=80, square=True)
    ((view,),) = views_of(protocol, photo(150, 100))
    expected = cut(photo(150, 100).resize((80, 80), BILINEAR), 8, 8, 64)
    assert np.abs(view - expected).max() <= 1


def test_center_without_sizes_is_the_image_itself():
    protocol = protocols.create("center", crop=None, resize=None)
    (view,) = protocol.views(protocol.parts[0], photo(30, 20, "L"), "L")
    np.testing.assert_array_equal(view, np.asarray(photo(30, 20, "L"))[..., None])


@pytest.mark.parametrize("size", [(150, 100), (90, 180)])  # differences that are even: no rounding
def test_ten_crop_has_the_five_crops_of_torchvision_which_are_mirrored_later(size):
    pytest.importorskip("torch")
    from cnn_jax.interop import reference

    reference.torchvision()
    from torchvision.transforms import FiveCrop

    protocol = protocols.create("ten_crop", crop=64, resize=80)
    ((views),) = views_of(protocol, photo(*size))
    expected = FiveCrop(64)(resized(photo(*size), 80))
    assert len(views) == 5 and protocol.mirrored and protocol.views_of_each == 10
    for view, crop in zip(views, expected, strict=True):
        assert np.abs(view - np.asarray(crop).astype(int)).max() <= 1


@pytest.mark.parametrize("size", [(150, 100), (100, 150)])
def test_crops_144_are_three_squares_of_four_sizes_with_six_views_each(size):
    sides = (72, 80, 88, 96)
    protocol = protocols.create("crops_144", crop=64, sides=sides)
    found = np.concatenate(views_of(protocol, photo(*size))).astype(int)
    expected = []
    for side in sides:
        whole = resized(photo(*size), side)
        room = max(whole.size) - side
        for offset in (0, room // 2, room):
            x, y = (offset, 0) if size[0] > size[1] else (0, offset)
            square = whole.crop((x, y, x + side, y + side))
            last, half = side - 64, (side - 64) // 2
            corners = [(0, 0), (last, 0), (0, last), (last, last), (half, half)]
            expected += [cut(square, *corner, 64) for corner in corners]
            expected.append(np.asarray(square.resize((64, 64), BILINEAR)).astype(int))
    assert protocol.views_of_each == 144 and len(found) == len(expected) == 72
    # The resized square is made of the image itself here, and of the resized image there.
    limits = [4 if i % 6 == 5 else 2 for i in range(72)]
    for view, other, limit in zip(found, expected, limits, strict=True):
        assert np.abs(view - other).max() <= limit


@pytest.mark.parametrize("size", [(150, 100), (100, 150)])
def test_crops_12_are_the_views_of_the_central_square_of_crops_144(size):
    protocol = protocols.create("crops_12", crop=64, resize=80)
    (found,) = views_of(protocol, photo(*size))
    all_sides = protocols.create("crops_144", crop=64, sides=(72, 80, 88, 96))
    np.testing.assert_array_equal(found, views_of(all_sides, photo(*size))[1][6:12])
    assert protocol.views_of_each == 12 and protocol.settings["flip"]


def test_multi_scale_sees_all_of_the_image_at_each_side():
    protocol = protocols.create("multi_scale", sides=(40, 64), multiple=1)
    small, large = (views[0] for views in views_of(protocol, photo(150, 100)))
    np.testing.assert_array_equal(small, np.asarray(resized(photo(150, 100), 40)))
    np.testing.assert_array_equal(large, np.asarray(resized(photo(150, 100), 64)))


def test_multi_scale_cuts_the_longer_side_to_a_multiple_at_both_ends():
    protocol = protocols.create("multi_scale", sides=(64,), multiple=32)
    part, image = protocol.parts[0], photo(150, 100)  # 96x64 after resizing; 118x64 below
    assert protocol.shape(part, 150, 100) == (64, 96)
    image = photo(185, 100)
    assert protocol.shape(part, *image.size) == (64, 96)
    expected = np.asarray(resized(image, 64)).astype(int)[:, 11:107]
    assert np.abs(protocol.views(part, image)[0] - expected).max() <= 1


def test_the_sizes_of_the_papers_are_the_defaults_at_224_pixels():
    def sizes(name):
        return protocols.default_sizes(name, 224, 256)

    assert sizes("center") == {"crop": 224, "resize": 256}
    assert sizes("ten_crop") == {"crop": 224, "resize": 256}
    assert sizes("crops_12") == {"crop": 224, "resize": 256}
    assert sizes("crops_144") == {"crop": 224, "sides": (256, 288, 320, 352)}
    assert sizes("multi_scale") == {"sides": (224, 256, 384, 480, 640), "multiple": 32}


def test_small_images_get_sizes_in_the_same_ratio_and_all_of_the_image_as_the_center():
    assert protocols.default_sizes("center", 32, None) == {"crop": None, "resize": None}
    assert protocols.default_sizes("ten_crop", 28, None) == {"crop": 28, "resize": 32}
    assert protocols.default_sizes("multi_scale", 28, None)["sides"] == (28, 32, 48, 60, 80)


def test_an_image_smaller_than_the_crop_is_named_as_bad():
    protocol = protocols.create("center", crop=64, resize=None)
    with pytest.raises(BadImage, match="50x70, smaller than the crop; give --resize"):
        views_of(protocol, photo(50, 70))


@pytest.mark.parametrize(
    "name,options,message",
    [
        ("tencrop", {}, r"unknown protocol 'tencrop' \(did you mean 'ten_crop'\?\); choose from: "),
        ("center", {"crop": 65, "resize": 64}, "crop of 65 pixels out of images of 64"),
        ("center", {"sides": (1,)}, "unknown size of the protocol center 'sides'"),
        ("crops_144", {"crop": 9, "sides": (9, 10)}, "four sides, not 2"),
        ("crops_144", {"crop": 9, "sides": (9,) * 4, "square": True}, "not made square"),
        ("multi_scale", {"sides": (16, 64), "multiple": 32}, "none is less than the multiple"),
        ("center", {"average": "mean"}, "unknown average 'mean'"),
        ("center", {"filter": "cubic"}, "did you mean 'bicubic'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(name, options, message):
    with pytest.raises(UserError, match=message):
        protocols.create(name, **options)
