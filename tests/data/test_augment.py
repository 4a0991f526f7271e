"""Crops, mirror images and colors are those of their references, and depend on the example."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from cnn_jax.data import augment
from cnn_jax.errors import UserError

KEY = jax.random.key(0)
IMAGES = jax.random.normal(jax.random.key(1), (64, 6, 6, 2))
INDEX = jnp.arange(64)


def views_of(image, padding, mode):
    """Every crop of the padded image, and its mirror, by NumPy."""
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode=mode)
    shifts = range(2 * padding + 1)
    crops = [padded[i : i + 6, j : j + 6] for i in shifts for j in shifts]
    return np.array(crops + [crop[:, ::-1] for crop in crops])


@pytest.mark.parametrize("fill,mode", [("zero", "constant"), ("reflect", "reflect")])
def test_every_view_is_a_crop_of_the_padded_image_or_its_mirror(fill, mode):
    augmentation = augment.crop_and_flip(crop_padding=2, crop_fill=fill, flip=True)
    for image, view in zip(IMAGES, augmentation(KEY, IMAGES, INDEX), strict=True):
        assert (views_of(np.asarray(image), 2, mode) == np.asarray(view)).all((1, 2, 3)).any()


def test_all_crops_and_both_mirrors_come_up():
    augmentation = augment.crop_and_flip(crop_padding=1, crop_fill="zero", flip=True)
    image = IMAGES[:1]
    many = augmentation(KEY, jnp.repeat(image, 500, 0), jnp.arange(500))
    all_views = views_of(np.asarray(image[0]), 1, "constant")
    counts = (all_views[:, None] == np.asarray(many)[None]).all((2, 3, 4)).sum(1)
    assert counts.sum() == 500 and counts.min() > 10  # 28 each are expected


def test_a_view_does_not_depend_on_the_place_in_the_batch():
    augmentation = augment.crop_and_flip(crop_padding=2, crop_fill="reflect", flip=True)
    views = augmentation(KEY, IMAGES, INDEX)
    order = jax.random.permutation(jax.random.key(3), 64)
    assert (augmentation(KEY, IMAGES[order], INDEX[order]) == views[order]).all()


def test_another_step_has_other_views():
    augmentation = augment.crop_and_flip(crop_padding=2, crop_fill="zero", flip=True)
    views = [augmentation(jax.random.key(k), IMAGES, INDEX) for k in (0, 1)]
    assert (views[0] != views[1]).any((1, 2, 3)).mean() > 0.8


def test_no_augmentation_changes_nothing():
    augmentation = augment.crop_and_flip(crop_padding=0, crop_fill="zero", flip=False)
    assert (augmentation(KEY, IMAGES, INDEX) == IMAGES).all()


def test_a_margin_too_wide_to_reflect_is_refused():
    with pytest.raises(UserError, match="too much to reflect in images of 6x6"):
        augment.crop_and_flip(crop_padding=6, crop_fill="reflect", flip=False)(KEY, IMAGES, INDEX)


def test_an_unknown_fill_is_refused():
    with pytest.raises(UserError, match="choose from: zero, reflect"):
        augment.crop_and_flip(crop_padding=4, crop_fill="mirror", flip=False)


# --- color --------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (64, 8, 8, 3)).astype(np.float32)
NOTHING = dict.fromkeys(augment.OPERATIONS, 0.0) | {"lighting": 0.0, "clip": False}
NOTHING["formulas"] = "torch"
FB_RESNET = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}
GRAY = np.array([0.299, 0.587, 0.114])


def color_jitter(images=COLORS, index=INDEX, key=KEY, **settings):
    return np.asarray(augment.color_jitter(**NOTHING | settings)(key, jnp.asarray(images), index))


def one_operation(name, amount):
    amounts = jnp.full(len(COLORS), amount)
    return augment.apply_colors(jnp.asarray(COLORS), {name: amounts != 0}, amounts)


@pytest.mark.parametrize(
    "name,enhance",
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("amount", [-0.4, 0.25])
def test_the_blends_are_those_of_pillow(name, enhance, amount):
    ours = np.clip(one_operation(name, amount), 0, 255)
    for image, view in zip(COLORS.astype(np.uint8), ours, strict=True):
        theirs = np.asarray(enhance(Image.fromarray(image)).enhance(1 + amount))
        assert np.abs(theirs - view).max() < 1.5  # Pillow rounds the gray and the result


@pytest.mark.parametrize("shift", [-0.45, 0.1, 0.5])
def test_hue_turns_the_circle_of_hsv(shift):
    ours = np.asarray(one_operation("hue", shift))[:4].reshape(-1, 3)
    for before, after in zip(COLORS[:4].reshape(-1, 3), ours, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before / 255)
        expected = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
        np.testing.assert_allclose(after, 255 * np.array(expected), atol=2e-2)


def test_a_gray_image_has_no_hue_to_turn():
    gray = np.repeat(COLORS[..., :1], 3, -1)
    np.testing.assert_allclose(color_jitter(gray, hue=0.5), gray)


def by_numpy(image, order, amounts):
    """fb.resnet.torch's three, one after the other."""
    for place in order:
        gray = (image * GRAY).sum(-1, keepdims=True)
        other = [0, gray.mean(), gray][place]
        image = (1 + amounts[place]) * image - amounts[place] * other
    return image


def test_each_image_has_its_own_order_and_amounts():
    views = color_jitter(**FB_RESNET)
    draws = [augment.draw_colors(KEY, i, FB_RESNET) for i in INDEX]
    for image, view, (order, amounts, _) in zip(COLORS, views, draws, strict=True):
        expected = by_numpy(image.astype(np.float64), np.asarray(order), np.asarray(amounts))
        np.testing.assert_allclose(view, expected, atol=1e-2)
    assert len({tuple(np.asarray(order)) for order, _, _ in draws}) == 6


@pytest.mark.parametrize("formulas", augment.FORMULAS)
def test_each_operation_has_its_own_strength_among_others(formulas):
    # A turn of the hue changes neither the largest nor the smallest of the channels.
    tiny = {"brightness": 1e-6, "contrast": 1e-6, "saturation": 1e-6, "hue": 0.5}
    views = color_jitter(**tiny, formulas=formulas)
    assert np.abs(views - COLORS).max() > 100
    np.testing.assert_allclose(views.max(-1), COLORS.max(-1), atol=1e-2)
    np.testing.assert_allclose(views.min(-1), COLORS.min(-1), atol=1e-2)


def test_amounts_fill_their_range():
    amounts = jax.vmap(lambda i: augment.draw_colors(KEY, i, FB_RESNET)[1])(jnp.arange(2000))
    assert np.abs(amounts).max() <= 0.4
    counts = [np.histogram(column, 4, (-0.4, 0.4))[0] for column in np.asarray(amounts).T]
    assert np.min(counts) > 400  # 500 each are expected


# Of tensorflow/models, inception/image_processing.py.
INCEPTION = {"brightness": 32 / 255, "contrast": 0.5, "saturation": 0.5, "hue": 0.2, "clip": True}
INCEPTION["formulas"] = "tensorflow"


def adjusted_in_hsv(image, factor, shift):
    """TensorFlow's rgb_to_hsv, the saturation times `factor` or the hue + `shift`, hsv_to_rgb."""
    hsv = np.empty_like(image)
    value, low = image.max(-1), image.min(-1)
    span = np.where(value > low, value - low, 1)
    red, green, blue = np.moveaxis(image, -1, 0)
    hue = (red - green) / span / 6 + 4 / 6
    hue = np.where(green == value, (blue - red) / span / 6 + 2 / 6, hue)
    hue = np.where(red == value, (green - blue) / span / 6, hue)
    hsv[..., 0] = np.where(value > low, hue, 0) % 1
    hsv[..., 1] = np.where(value > 0, (value - low) / np.where(value > 0, value, 1), 0)
    if factor is not None:
        hsv[..., 1] = np.clip(hsv[..., 1] * factor, 0, 1)
    if shift is not None:
        hsv[..., 0] = (hsv[..., 0] + shift) % 1
    sector = 6 * hsv[..., :1]
    ramps = np.concatenate([abs(sector - 3) - 1, 2 - abs(sector - 2), 2 - abs(sector - 4)], -1)
    saturation = hsv[..., 1:2]
    return (1 - saturation + saturation * np.clip(ramps, 0, 1)) * value[..., None]


def by_tensorflow(image, amounts, contrast_first):
    """distort_color, of an image 0-1 in float64."""
    brightness, contrast, saturation, hue = amounts
    steps = {
        "brightness": lambda x: x + brightness,
        "contrast": lambda x: (x - x.mean((0, 1))) * (1 + contrast) + x.mean((0, 1)),
        "saturation": lambda x: adjusted_in_hsv(x, 1 + saturation, None),
        "hue": lambda x: adjusted_in_hsv(x, None, hue),
    }
    orders = [("brightness", "saturation", "hue", "contrast")]
    orders += [("brightness", "contrast", "saturation", "hue")]
    for name in orders[contrast_first]:
        image = steps[name](image)
    return np.clip(image, 0, 1)


def test_tensorflows_formulas_are_those_of_inceptions_code():
    views = color_jitter(**INCEPTION)
    strengths = {name: INCEPTION[name] for name in augment.OPERATIONS}
    draws = [augment.draw_colors(KEY, i, strengths) for i in INDEX]
    firsts = [bool(order[0] < 2) for order, _, _ in draws]
    assert 20 < sum(firsts) < 44  # of 64
    for image, view, (_, amounts, _), first in zip(COLORS, views, draws, firsts, strict=True):
        expected = by_tensorflow(image.astype(np.float64) / 255, np.asarray(amounts), first)
        np.testing.assert_allclose(view, 255 * expected, atol=1e-2)


def test_each_of_tensorflows_operations_alone():
    rows = {"contrast": (0, -0.4, 0, 0), "saturation": (0, 0, 0.5, 0), "hue": (0, 0, 0, -0.2)}
    for amounts in ((0.1, 0, 0, 0), *rows.values()):
        ours = augment.distort(COLORS[:2], jnp.array([amounts] * 2), jnp.array([True, False]))
        for image, view, first in zip(COLORS, ours, (True, False), strict=False):
            expected = by_tensorflow(image.astype(np.float64) / 255, amounts, first)
            np.testing.assert_allclose(np.clip(view, 0, 255), 255 * expected, atol=1e-2)


def test_the_formulas_differ_in_contrast_and_saturation():
    for name in ("brightness", "contrast", "saturation"):
        torch, tensorflow = (color_jitter(**{name: 0.5, "formulas": f}) for f in augment.FORMULAS)
        assert np.abs(torch - tensorflow).max() > 5


def test_lighting_adds_one_color_with_imagenets_covariance():
    images = np.zeros((4000, 1, 2, 3), np.float32)
    added = color_jitter(images, jnp.arange(4000), lighting=0.1)
    assert (added[:, 0, 0] == added[:, 0, 1]).all()
    vectors = augment.EIGENVECTORS
    expected = vectors @ np.diag((0.1 * 255 * augment.EIGENVALUES) ** 2) @ vectors.T
    np.testing.assert_allclose(np.cov(added[:, 0, 0].T), expected, atol=0.05 * expected.max())


def test_the_principal_color_is_that_of_real_images(shared_data):
    files = sorted((shared_data / "imagenet_sample").glob("*/*.JPEG"))[:100]
    pixels = [np.asarray(Image.open(f).convert("RGB").resize((32, 32))) for f in files]
    vectors = np.linalg.eigh(np.cov(np.concatenate(pixels).reshape(-1, 3).T / 255)).eigenvectors
    assert abs(vectors[:, -1] @ augment.EIGENVECTORS[:, 0]) > 0.999
    assert np.abs(augment.EIGENVECTORS.T @ augment.EIGENVECTORS - np.eye(3)).max() < 1e-3


def test_clipping_brings_values_into_range_at_the_end():
    settings = FB_RESNET | {"lighting": 0.1}
    free, clipped = color_jitter(**settings), color_jitter(**settings, clip=True)
    assert free.max() > 255 and free.min() < 0
    np.testing.assert_array_equal(clipped, np.clip(free, 0, 255))


def test_a_view_depends_on_key_and_example_not_on_the_place_in_the_batch():
    settings = FB_RESNET | {"hue": 0.2, "lighting": 0.1}
    views, order = color_jitter(**settings), RNG.permutation(64)
    again = color_jitter(COLORS[order], INDEX[order], **settings)
    np.testing.assert_allclose(again, views[order], atol=1e-3)
    assert (
        np.abs(color_jitter(key=jax.random.key(1), **settings) - views).max((1, 2, 3)) > 1
    ).all()


def test_no_color_augmentation_changes_nothing():
    assert (color_jitter() == COLORS).all()


def test_unknown_formulas_are_refused():
    with pytest.raises(UserError, match="choose from: torch, tensorflow"):
        color_jitter(formulas="inception")


@pytest.mark.parametrize("field,value", [("hue", 0.6), ("contrast", -0.1), ("lighting", -1)])
def test_a_strength_that_cannot_be_is_refused_by_name(field, value):
    with pytest.raises(UserError, match=f"color.{field} is {value}"):
        color_jitter(**{field: value})
