"""From an encoded image to pixels: every usual kind of file to RGB, and the others named.

Gray, palette, CMYK and 16-bit images become 8-bit RGB (16 bits: the high byte; transparency is
dropped); of an animation the first picture counts; the orientation that EXIF asks for is left
alone, as in the papers' pipelines. Pillow is the reference. simplejpeg, an option that is installed
by itself, decodes JPEGs to the same pixels faster; what it refuses, Pillow is asked.
"""

import importlib.util
import io

import numpy as np
from PIL import Image, ImageOps

from cnn_jax import errors

DECODERS = ("pillow", "simplejpeg")


class BadImage(ValueError):
    """An image that cannot be decoded; the message says why."""


def check(decoder: str) -> None:
    """Raises `UserError` for a decoder that is unknown or not installed."""
    if decoder not in DECODERS:
        raise errors.unknown("decoder", decoder, DECODERS)
    if decoder == "simplejpeg" and importlib.util.find_spec("simplejpeg") is None:
        raise errors.UserError(
            "the decoder simplejpeg is not installed: pip install simplejpeg, "
            "or set the decoder to 'pillow'"
        )


def open_image(encoded: bytes) -> Image.Image:
    """Reads the header: the size is known, nothing is decoded yet. Raises `BadImage`."""
    try:
        return Image.open(io.BytesIO(encoded))
    except Image.UnidentifiedImageError:
        what = "it is empty" if not encoded else "it is no image, or of an unknown format"
        raise BadImage(what) from None
    except Exception as error:  # Pillow's readers of damaged headers raise almost anything
        raise BadImage(errors.first_line(error)) from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Decodes an opened image, to the mode "RGB", or "L" where it is gray. Raises `BadImage`."""
    try:
        image.load()
        if image.mode in ("RGB", "L"):
            return image
        if image.mode in ("F", "I"):
            raise BadImage(f"its pixels are of 32 bits (mode {image.mode})")
        if image.mode.startswith("I;16"):
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        return image.convert("L" if image.mode in ("1", "LA") else "RGB")
    except BadImage:
        raise
    except Exception as error:  # as above
        raise BadImage(errors.first_line(error)) from None


def decode_jpeg(encoded: bytes, image: Image.Image) -> np.ndarray | None:
    """simplejpeg's pixels of an RGB or gray JPEG that is sound, uint8 [H, W, 3]; else None."""
    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return None
    import simplejpeg

    try:
        return simplejpeg.decode_jpeg(encoded)
    except ValueError:
        return None


def full(encoded: bytes, size: tuple[int, int] | None, mode: str | None) -> np.ndarray:
    """One image as uint8 [H, W, 1 or 3], for data that is used as it is.

    Args:
      encoded: an image file's bytes, of any format that Pillow knows.
      size: (height, width), resized to cover it, and center cropped; None takes it as it is.
      mode: Pillow's "L" or "RGB"; None keeps gray images gray.

    Raises:
      BadImage: it is damaged, or has more than 8 bits a channel.
    """
    try:
        with open_image(encoded) as opened:
            if opened.mode == "F" or opened.mode.startswith("I"):
                raise BadImage("it has more than 8 bits a channel")
            image = opened.convert(mode or ("L" if opened.mode in ("1", "L") else "RGB"))
    except BadImage:
        raise
    except Exception as error:  # as above
        raise BadImage(errors.first_line(error)) from None
    if size is not None:
        image = ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]
