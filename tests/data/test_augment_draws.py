"""The views of an example are a function of the key of its step and its number, always the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax.data import augment
from cnn_jax.errors import UserError

# The key of augmentation of seed 3 at step 5, see tests/training/test_keys.py.
KEY = jax.random.wrap_key_data(np.array([543421569, 3302109671], np.uint32))
SIDE = 8
# Each pixel tells where it was: row, column. Two more than either, so that 0 is the margin.
GRID = np.stack(np.meshgrid(*2 * [np.arange(2.0, SIDE + 2)], indexing="ij"), -1).astype(np.float32)
# Of the examples 0 to 5: pixels that the crop is moved by, and whether it is mirrored.
CROPS = [(0, 2, 1), (-2, 0, 1), (-2, 0, 0), (2, -1, 1), (-2, -1, 0), (-2, -1, 1)]


def views(examples, key=KEY, padding=2, flip=True, fill="zero", images=GRID):
    view = augment.crop_and_flip(crop_padding=padding, crop_fill=fill, flip=flip)
    index = np.asarray(examples, np.int32)
    return np.asarray(jax.jit(view)(key, np.stack([images] * len(examples)), index))


def cropped(down, right, mirrored, mode="constant"):
    padded = np.pad(GRID, ((2, 2), (2, 2), (0, 0)), mode)
    crop = padded[2 + down : 2 + down + SIDE, 2 + right : 2 + right + SIDE]
    return crop[:, ::-1] if mirrored else crop


@pytest.mark.parametrize("fill,mode", [("zero", "constant"), ("reflect", "reflect")])
def test_crops_and_mirrors_of_a_step_are_these(fill, mode):
    # Other numbers would give another end to a run that was stopped before an upgrade.
    for view, crop in zip(views(range(6), fill=fill), CROPS, strict=True):
        np.testing.assert_array_equal(view, cropped(*crop, mode))


def test_mirrors_are_the_same_without_a_crop():
    for view, (_, _, mirrored) in zip(views(range(6), padding=0), CROPS, strict=True):
        np.testing.assert_array_equal(view, cropped(0, 0, mirrored))


def test_crops_are_the_same_without_mirrors():
    for view, (down, right, _) in zip(views(range(6), flip=False), CROPS, strict=True):
        np.testing.assert_array_equal(view, cropped(down, right, 0))


def test_images_need_not_be_square():
    wide = np.concatenate([GRID, GRID + 20], 1)
    for view in views(range(4), padding=7, fill="reflect", images=wide):
        assert view.shape == (8, 16, 2) and view.min() >= 2
    with pytest.raises(UserError, match="too much to reflect in images of 16x8"):
        views(range(4), padding=8, fill="reflect", images=wide)


def test_a_negative_margin_is_refused():
    with pytest.raises(UserError, match="crop_padding is -1"):
        augment.crop_and_flip(crop_padding=-1, crop_fill="zero", flip=True)


# Of the examples 0 to 2: the order of four operations, and the amounts in the order of the names.
ORDERS = [[0, 2, 1, 3], [3, 1, 0, 2], [1, 2, 3, 0]]
AMOUNTS = [
    [0.3561, 0.2234, -0.7082, 0.2578],
    [0.537, -0.8552, 0.141, -0.2605],
    [-0.0619, 0.5289, 0.9813, -0.2492],
]
MULTIPLES = [[1.0376, -0.6346, -1.781], [-1.2811, -2.9055, 0.6042], [-1.4347, -0.6202, -0.1262]]


def test_orders_amounts_and_lights_of_a_step_are_these():
    strengths = dict(zip(augment.OPERATIONS, (1.0, 0.5, 0.25, 0.1), strict=True))
    draw = jax.jit(jax.vmap(lambda i: augment.draw_colors(KEY, i, strengths)))
    orders, amounts, multiples = draw(np.arange(3))
    assert orders.tolist() == ORDERS
    np.testing.assert_allclose(amounts, np.multiply(AMOUNTS, [*strengths.values()]), atol=1e-4)
    np.testing.assert_allclose(multiples, MULTIPLES, atol=1e-4)


# datasets/imagenet.lua of fb.resnet.torch: eigenvalues, and below them their eigenvectors.
PCA = {
    0.2175: (-0.5675, -0.5808, -0.5836),
    0.0188: (0.7192, -0.0045, -0.6948),
    0.0045: (0.4009, -0.8140, 0.4203),
}


def test_light_is_along_the_principal_colors_of_imagenet():
    multiples = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, -2, 3]])
    expected = multiples @ [[255 * value * x for x in vector] for value, vector in PCA.items()]
    light = np.asarray(jax.jit(augment.light)(multiples))
    np.testing.assert_allclose(light[:, 0, 0], expected, rtol=1e-5)


def test_luminance_is_that_of_bt_601():
    assert [round(float(w), 3) for w in augment.gray_of(np.eye(3))[:, 0]] == [0.299, 0.587, 0.114]


NOTHING = dict.fromkeys(augment.OPERATIONS, 0.0) | {"lighting": 0.0, "clip": False}
COLORS = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)


def jittered(images=COLORS, formulas="torch", **settings):
    jitter = augment.color_jitter(**NOTHING | settings, formulas=formulas)
    return jax.jit(jitter)(KEY, images, np.arange(len(images)))


@pytest.mark.parametrize("formulas", augment.FORMULAS)
def test_no_colors_leave_bytes_as_bytes_and_gray_images_alone(formulas):
    assert jittered(COLORS[..., :1], formulas).dtype == jnp.uint8


@pytest.mark.parametrize("setting", [{"hue": 0.1}, {"lighting": 0.1}, {"clip": True}])
def test_any_color_setting_needs_rgb(setting):
    with pytest.raises(UserError, match="these images are gray"):
        jittered(COLORS[..., :1], **setting)


def test_clipping_alone_changes_no_color():
    np.testing.assert_array_equal(jittered(clip=True), COLORS.astype(np.float32))


def test_light_is_drawn_with_its_deviation_and_added_to_every_pixel():
    added = jittered(lighting=0.1) - COLORS.astype(np.float32)
    expected = augment.light(0.1 * np.float32(MULTIPLES))
    np.testing.assert_allclose(added, np.broadcast_to(expected, added.shape), atol=2e-2)


def test_brightness_alone_takes_the_amounts_of_its_name():
    views = jittered(brightness=0.5, formulas="tensorflow")
    amounts = np.array(AMOUNTS)[:, 0, None, None, None]
    np.testing.assert_allclose(views, COLORS + 255 * 0.5 * amounts, atol=5e-2)


@pytest.mark.parametrize(
    "field,most", [("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0.5)]
)
def test_strengths_reach_up_to_a_bound_of_their_own(field, most):
    for strength in (0.0, most):
        augment.color_jitter(**NOTHING | {field: strength}, formulas="torch")
    for strength in (-0.01, most + 0.01):
        with pytest.raises(UserError, match=f"color.{field} is {strength}.*to {most}"):
            augment.color_jitter(**NOTHING | {field: strength}, formulas="torch")


def changed(change, images, amounts):
    images = np.float32(images).reshape(len(amounts), 1, 1, 3)
    return np.asarray(jax.jit(change)(images, np.float32(amounts))).reshape(-1, 3)


@pytest.mark.parametrize("change", [augment.turn_hue, augment.saturate])
def test_black_and_gray_stay_as_they_are_when_hue_and_saturation_change(change):
    flat = [[0, 0, 0], [90, 90, 90], [255, 255, 255]]
    np.testing.assert_allclose(changed(change, flat, [0.3, -0.3, 0.5]), flat, atol=1e-4)


def test_saturation_ends_at_the_pure_color_and_at_gray():
    views = changed(augment.saturate, [[200, 100, 150]] * 3, [9.0, -1.0, -3.0])
    np.testing.assert_allclose(views, [[200, 0, 100], [200] * 3, [200] * 3], atol=1e-3)


def test_a_third_of_the_circle_turns_red_into_green_into_blue():
    views = changed(augment.turn_hue, [[250, 10, 10]] * 2, [1 / 3, 2 / 3])
    np.testing.assert_allclose(views, [[10, 250, 10], [10, 10, 250]], atol=1e-2)
