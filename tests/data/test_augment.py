"""The training view is a crop of the padded image, or its mirror, and depends on the example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
