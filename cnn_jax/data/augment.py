"""Augmentation on the device, keyed by (seed, step, example): colors, pad and crop, and flip.

Colors are changed before the mean is subtracted. Crops and flips act on preprocessed images, so
that a zero margin has the mean color, as in fb.resnet.torch.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax import errors

FILLS = ("zero", "reflect")
FORMULAS = ("torch", "tensorflow")


def crop_and_flip(*, crop_padding: int, crop_fill: str, flip: bool) -> Callable:
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


OPERATIONS = ("brightness", "contrast", "saturation", "hue")
GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, Pillow's "L"

# Of RGB values 0-1 of ImageNet's training images, from fb.resnet.torch (datasets/imagenet.lua);
# a column of EIGENVECTORS belongs to a value.
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045], np.float32)
EIGENVECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
    np.float32,
)


def color_jitter(
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    lighting: float,
    clip: bool,
    formulas: str,
) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """`jitter(key, images, index) -> images` [B, H, W, 3] of values 0-255, to float32.

    Args:
      brightness, contrast, saturation: s, for a factor drawn from [1 - s, 1 + s], or a brightness
        from [-s, s] of TensorFlow; 0 does nothing, fb.resnet.torch has 0.4 for each.
      hue: h, for a shift drawn from [-h, h]; 1 is the whole circle. Inception's code has 0.2.
      lighting: standard deviation of the multiples of `light`; 0 does nothing, AlexNet has 0.1.
      clip: values are brought to 0-255 at the end, as in Inception's code; fb.resnet.torch's not.
      formulas: "torch", of fb.resnet.torch (datasets/transforms.lua): the image is blended with
        black, with its mean gray and with its own gray, in an order drawn for each image; or
        "tensorflow", see `distort`. Both turn the hue on the circle of HSV.

    `key` is the key of the step, `index` int32 [B] the number of each example in its split.
    """
    strengths = dict(zip(OPERATIONS, (brightness, contrast, saturation, hue), strict=True))
    check_colors(strengths, lighting, formulas)
    used = {name: s for name, s in strengths.items() if s or formulas == "tensorflow"}

    def jitter(key: jax.Array, images: jax.Array, index: jax.Array) -> jax.Array:
        if not any(strengths.values()) and not lighting and not clip:
            return images
        images = check_rgb(images).astype(jnp.float32)
        # `used` is no argument of the function that `vmap` maps: JAX would sort its names.
        draw = functools.partial(draw_colors, key, strengths=used)
        order, amounts, multiples = jax.vmap(draw)(index)
        if formulas == "tensorflow":
            images = distort(images, amounts, order[:, 0] < len(OPERATIONS) // 2)
        else:
            images = blend_in_order(images, [*used], order, amounts)
        if lighting:
            images = images + light(multiples * lighting)
        return jnp.clip(images, 0, 255) if clip else images

    return jitter


def check_colors(strengths: dict[str, float], lighting: float, formulas: str) -> None:
    """Raises `UserError` for a field of the group `color` that cannot be."""
    if formulas not in FORMULAS:
        raise errors.unknown("color.formulas", formulas, FORMULAS)
    for name, strength in strengths.items():
        most = 0.5 if name == "hue" else 1
        if not 0 <= strength <= most:
            raise errors.UserError(f"color.{name} is {strength}: it must be from 0 to {most}")
    if lighting < 0:
        raise errors.UserError(f"color.lighting is {lighting}: it cannot be negative")


def check_rgb(images: jax.Array) -> jax.Array:
    """The images; raises `UserError` for gray ones."""
    if images.shape[-1] != 3:
        raise errors.UserError(
            "color: these images are gray; set all of its fields to 0, and clip to False"
        )
    return images


def draw_colors(
    key: jax.Array, example: jax.Array, strengths: dict[str, float]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of one example the order of the operations, the amount of each, and normal multiples [3]."""
    # 2: other random numbers than those of crops and flips, which fold in the example alone.
    key = jax.random.fold_in(jax.random.fold_in(key, example), 2)
    order_key, amount_key, light_key = jax.random.split(key, 3)
    count = len(strengths)
    amounts = jax.random.uniform(amount_key, (count,), minval=-1, maxval=1)
    amounts = amounts * jnp.array([*strengths.values()])
    return jax.random.permutation(order_key, count), amounts, jax.random.normal(light_key, (3,))


def blend_in_order(
    images: jax.Array, used: list[str], order: jax.Array, amounts: jax.Array
) -> jax.Array:
    """The operations `used` in the `order` of each image, int [B, used], by `amounts` [B, used]."""
    for place in range(len(used)):
        which = order[:, place]
        amount = jnp.take_along_axis(amounts, which[:, None], 1)[:, 0]
        images = apply_colors(images, {name: which == i for i, name in enumerate(used)}, amount)
    return images


def apply_colors(images: jax.Array, chosen: dict[str, jax.Array], amount: jax.Array) -> jax.Array:
    """To each image the operation for which `chosen`, each bool [B], is true, by `amount` [B]."""
    # The blends differ in what they blend with only: one of them is computed for each image.
    gray, other = gray_of(images), jnp.zeros_like(images[..., :1])
    if "contrast" in chosen:
        mean = gray.mean((1, 2), keepdims=True)
        other = jnp.where(of_image(chosen["contrast"]), mean, other)
    if "saturation" in chosen:
        other = jnp.where(of_image(chosen["saturation"]), gray, other)
    result = blend(images, other, amount)
    if "hue" in chosen:
        result = jnp.where(of_image(chosen["hue"]), turn_hue(images, amount), result)
    return result


def distort(images: jax.Array, amounts: jax.Array, contrast_first: jax.Array) -> jax.Array:
    """Inception's `distort_color` (tensorflow/models, inception/image_processing.py).

    Brightness is added, contrast is about the mean of each channel, and saturation and hue change
    in HSV. After the brightness comes the contrast for the images with `contrast_first`, bool [B],
    then saturation and hue, and then the contrast for the others. `amounts` [B, 4] are in the order
    of `OPERATIONS`.
    """
    brightness, contrast, saturation, hue = amounts.T
    images = images + 255 * of_image(brightness)
    images = stretch(images, jnp.where(contrast_first, contrast, 0))
    images = turn_hue(saturate(images, saturation), hue)
    return stretch(images, jnp.where(contrast_first, 0, contrast))


def stretch(images: jax.Array, amount: jax.Array) -> jax.Array:
    """The distance to the mean of each channel times 1 + amount [B]."""
    return blend(images, images.mean((1, 2), keepdims=True), amount)


def saturate(images: jax.Array, amount: jax.Array) -> jax.Array:
    """The saturation of HSV times 1 + amount [B], to at most 1; hue and value stay."""
    value = images.max(-1, keepdims=True)
    chroma = value - images.min(-1, keepdims=True)
    most = value / jnp.where(chroma > 0, chroma, 1)  # 1 / saturation; below 0 darker than black
    ratio = jnp.maximum(jnp.minimum(1 + of_image(amount), most), 0)
    return value - ratio * (value - images)


def of_image(values: jax.Array) -> jax.Array:
    """[B] -> [B, 1, 1, 1]."""
    return values[:, None, None, None]


def gray_of(images: jax.Array) -> jax.Array:
    """The luminance, [B, H, W, 1]; a sum, as matrix products may round to few bits."""
    return (images * GRAY).sum(-1, keepdims=True)


def blend(images: jax.Array, other: jax.Array, amount: jax.Array) -> jax.Array:
    """(1 + amount) of the images and -amount of the other, amount [B]."""
    return images + of_image(amount) * (images - other)


def turn_hue(images: jax.Array, shift: jax.Array) -> jax.Array:
    """The hue of HSV moved by shift [B], 1 being the whole circle; value and saturation stay."""
    red, green, blue = jnp.moveaxis(images, -1, 0)
    value, low = images.max(-1), images.min(-1)
    chroma = value - low
    safe = jnp.where(chroma > 0, chroma, 1)
    sector = jnp.where(
        value == red,
        (green - blue) / safe,
        jnp.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sector + 6 * shift[:, None, None]
    # Each channel is low, high or on the slope between, as the sector has moved round to it.
    place = (jnp.array([5.0, 3.0, 1.0]) + sector[..., None]) % 6
    drop = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
    return value[..., None] - chroma[..., None] * drop


def light(multiples: jax.Array) -> jax.Array:
    """What PCA lighting adds to every pixel, [B, 1, 1, 3] of values 0-255, of multiples [B, 3].

    The principal components of ImageNet's colors, each by a multiple of its eigenvalue (Krizhevsky
    et al., 2012, 4.1).
    """
    return 255 * (multiples[:, None] * EIGENVALUES * EIGENVECTORS).sum(-1)[:, None, None]
