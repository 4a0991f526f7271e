"""Augmentation on the device, keyed by (seed, step, example): pad and crop, and flip.

It acts on preprocessed images, so that a zero margin has the mean color, as in fb.resnet.torch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from cnn_jax import errors

FILLS = ("zero", "reflect")


def create(*, crop_padding: int, crop_fill: str, flip: bool) -> Callable:
    """The training view: `augment(key, images, index) -> images`.

    Args:
      crop_padding: pixels added on each side before a crop of the original size; 0 crops nothing.
      crop_fill: the margin is "zero", or "reflect", mirrored without repeating the edge.
      flip: every second image is mirrored, left to right.

    `key` is the key of the step, `images` float [B, H, W, C], `index` int32 [B] the number of each
    example in its split: an image's view depends on these three and not on its place in the batch.
    """
    if crop_fill not in FILLS:
        raise errors.unknown("augmentation.crop_fill", crop_fill, FILLS)
    if crop_padding < 0:
        raise errors.UserError(
            f"augmentation.crop_padding is {crop_padding}: it cannot be negative"
        )

    def draw(key: jax.Array, example: jax.Array):
        crop_key, flip_key = jax.random.split(jax.random.fold_in(key, example))
        offset = jax.random.randint(crop_key, (2,), -crop_padding, crop_padding + 1)
        return offset, jax.random.bernoulli(flip_key) & flip

    def augment(key: jax.Array, images: jax.Array, index: jax.Array) -> jax.Array:
        if not crop_padding and not flip:
            return images
        _, height, width, _ = images.shape
        if crop_fill == "reflect" and crop_padding >= min(height, width):
            raise errors.UserError(
                f"augmentation.crop_padding is {crop_padding}: too much to reflect in images of "
                f"{width}x{height} pixels"
            )
        offset, mirrored = jax.vmap(draw, (None, 0))(key, index)
        if not crop_padding:  # a choice between two, which is far cheaper than gathering pixels
            return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        rows = offset[:, :1] + jnp.arange(height)
        columns = jnp.where(mirrored[:, None], jnp.arange(width)[::-1], jnp.arange(width))
        columns = offset[:, 1:] + columns
        views = take(take(images, rows, 1, crop_fill), columns, 2, crop_fill)
        return views

    return augment


def take(images: jax.Array, where: jax.Array, axis: int, fill: str) -> jax.Array:
    """Rows (axis 1) or columns (axis 2) of each image; `where` [B, n] may lie outside."""
    size = images.shape[axis]
    inside = (where >= 0) & (where < size)
    mirrored = jnp.where(where < 0, -where, 2 * (size - 1) - where)
    nearest = jnp.where(inside, where, jnp.clip(mirrored, 0, size - 1))
    shape = (len(images), -1, 1, 1) if axis == 1 else (len(images), 1, -1, 1)
    taken = jnp.take_along_axis(images, nearest.reshape(shape), axis)
    return taken if fill == "reflect" else taken * inside.reshape(shape).astype(images.dtype)
