"""Boxes of the papers' views for a given generator, and the bounds of their options."""

import numpy as np
import pytest

from cnn_jax.data.stream import views
from cnn_jax.errors import UserError

AREA = {"size": 24, "area": (0.08, 1.0), "aspect": (3 / 4, 4 / 3)}
SCALE = {"size": 24, "shorter_side": (28, 52)}
# Of three images of 60x40 one after the other: left, top, right, bottom.
BOXES = {
    ("area_aspect", ()): [(7, 0, 56, 40), (12, 3, 30, 20), (1, 19, 21, 34)],
    ("area_square", ()): [(4, 1, 58, 37), (5, 1, 23, 18), (28, 6, 51, 19)],
    ("scale_crop", "full"): [
        (30.909, 0, 52.727, 21.818),
        (18.333, 10, 38.333, 30),
        (10.312, 17.674, 32.812, 40),
    ],
    ("scale_crop", "center"): [
        (24.545, 0, 46.364, 21.818),
        (19.167, 10, 39.167, 30),
        (14.062, 17.674, 36.562, 40),
    ],
    ("scale_crop", "squash"): [
        (21.818, 0, 54.545, 21.818),
        (13.75, 10, 43.75, 30),
        (6.977, 17.674, 40.465, 40),
    ],
}


# Other numbers would give another end to a run that was stopped before an upgrade.
@pytest.mark.parametrize("kind,frame", BOXES)
def test_boxes_are_a_function_of_the_generator(kind, frame):
    window, _ = views.WINDOWS[kind]
    options = SCALE | {"frame": frame} if frame else AREA
    generator = np.random.default_rng(5)
    found = [window(generator, 60, 40, **options) for _ in range(3)]
    np.testing.assert_allclose(found, BOXES[kind, frame], atol=1e-3)


@pytest.mark.parametrize(
    "frame,box", [("full", (18, 8, 42, 32)), ("squash", (12.857, 8.571, 47.143, 31.429))]
)
def test_the_center_is_in_the_middle_of_the_resized_image(frame, box):
    # With "squash" both sides become 42; in full the shorter one is 40 already.
    resize = 40 if frame == "full" else 42
    found = views.center(None, 60, 40, size=24, resize=resize, frame=frame)
    np.testing.assert_allclose(found, box, atol=1e-3)


def test_sides_are_rounded_down_after_the_shorter_one_is_set():
    assert views.resized(50, 37, 28, False) == (37, 28)
    assert views.resized(37, 50, 28, False) == (28, 37)
    assert views.resized(37, 50, 28, True) == (28, 28)


def test_a_box_never_reaches_out_of_the_image():
    assert views.in_image((10, 20, 30, 40), (30, 40), (60, 120)) == (20, 60, 60, 120)
    assert views.in_image((10, 20, 31, 41), (30, 40), (60, 120)) == (20, 60, 60, 120)


def test_a_box_as_large_as_the_image_fits_and_a_larger_one_is_drawn_again():
    options = {"size": 8, "area": (1.0, 1.0), "aspect": (1.0, 1.0)}
    assert views.area_aspect(np.random.default_rng(0), 40, 40, **options) == (0, 0, 40, 40)
    assert views.area_aspect(np.random.default_rng(0), 40, 100, **options) == (0, 30, 40, 70)


@pytest.mark.parametrize(
    "side,factor", [(23, 1), (47, 1), (48, 2), (95, 2), (96, 4), (191, 4), (192, 8), (999, 8)]
)
def test_a_jpeg_shrinks_as_far_as_its_window_keeps_the_size(side, factor):
    assert views.dct_factor((1, 2, 1 + side, 2 + side), 24) == factor
    assert views.dct_factor((1, 2, 9001, 2 + side), 24) == factor
    assert views.dct_factor((1, 2, 1 + side, 9002), 24) == factor


def test_the_region_around_a_box_is_three_pixels_of_the_coarser_grid_and_two():
    region, box = views.surroundings((20.5, 30.5, 30.5, 70.5), 10, (100, 100))
    assert region == (15, 16, 35, 84)  # 10 pixels to 10, and 40 to 10
    assert box == (5.5, 14.5, 15.5, 54.5)
    region, box = views.surroundings((1.0, 2.0, 99.0, 98.0), 98, (100, 99))
    assert region == (0, 0, 100, 99) and box == (1.0, 2.0, 99.0, 98.0)


COMMON = {"filters": ("bilinear",), "decoder": "pillow", "dct_scaling": False}
OPTIONS = {
    "area_aspect": AREA,
    "scale_crop": SCALE | {"frame": "full"},
    "center": {"size": 24, "resize": 28, "frame": "full"},
}


@pytest.mark.parametrize(
    "kind,option,taken,refused",
    [
        ("scale_crop", "shorter_side", ((24, 24), (24, 99)), ((23, 52), (30, 29))),
        ("scale_crop", "frame", views.FRAMES, ("whole",)),
        ("center", "resize", (24, 99), (23,)),
        ("center", "frame", ("full", "squash"), ("center",)),
        ("center", "size", (1, 28), (0, -1, 29)),
        ("area_aspect", "area", ((1e-9, 1.0), (0.5, 0.5)), ((0.0, 1.0), (0.1, 1.01), (0.6, 0.5))),
        ("area_aspect", "aspect", ((1e-9, 9.0), (1.0, 1.0)), ((0.0, 1.0), (1.1, 1.0))),
        ("area_aspect", "filters", (("box", "nearest"),), ((), ("mitchell",))),
        ("area_aspect", "decoder", ("pillow",), ("turbo",)),
    ],
)
def test_an_option_is_taken_up_to_its_bounds(kind, option, taken, refused):
    for value in taken:
        views.create(kind=kind, **COMMON | OPTIONS[kind] | {option: value})
    for value in refused:
        with pytest.raises(UserError):
            views.create(kind=kind, **COMMON | OPTIONS[kind] | {option: value})


def test_areas_and_filters_are_drawn_at_most_ten_times():
    assert views.ATTEMPTS == 10
    assert views.FILTERS == {"nearest": 0, "box": 4, "bilinear": 2, "bicubic": 3, "lanczos": 1}


def test_noise_is_seen_as_it_is():
    pixels = bytes(range(2 * 2 * 3))
    assert views.raw(pixels, None, size=2).tolist() == np.arange(12).reshape(2, 2, 3).tolist()
