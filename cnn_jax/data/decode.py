"""From an encoded image to pixels: every usual kind of file becomes 8-bit RGB.

Gray, palette, CMYK and 16-bit images do too (of 16 bits the high byte is kept, transparency is
dropped). Of an animation the first picture is taken. The orientation in EXIF is ignored, as in the
papers' pipelines; `upright` is for photos that people bring. Pillow is the reference; simplejpeg,
which is installed separately, decodes JPEGs to the same pixels faster, and Pillow takes those that
it refuses.
"""

import importlib.util
import io
from typing import TYPE_CHECKING

import numpy as np

from cnn_jax import errors

if TYPE_CHECKING:
    from PIL.Image import Image

DECODERS = ("pillow", "simplejpeg")
ORIENTATION = 0x0112  # EXIF's number of the field; 1 is upright, 2 to 8 are turned or mirrored


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


def open_image(encoded: bytes) -> "Image":
    """Reads the header, which gives format and size; decodes nothing. Raises `BadImage`."""
    from PIL import Image

    try:
        return Image.open(io.BytesIO(encoded))
    except Image.UnidentifiedImageError:
        what = "it is empty" if not encoded else "it is no image, or of an unknown format"
        raise BadImage(what) from None
    except Exception as error:  # Pillow's readers of damaged headers raise almost anything
        raise BadImage(errors.first_line(error)) from None


def to_rgb(image: "Image") -> "Image":
    """Decodes an opened image, to the mode "RGB", or "L" where it is gray. Raises `BadImage`."""
    from PIL import Image

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


def decode_jpeg(encoded: bytes, image: "Image") -> np.ndarray | None:
    """Decodes an RGB or gray JPEG by simplejpeg: uint8 [H, W, 3]; None where that is no use.

    `image`: the same file, opened by Pillow.
    """
    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return None
    import simplejpeg

    try:
        return simplejpeg.decode_jpeg(encoded)
    except ValueError:
        return None


def full(encoded: bytes, size: tuple[int, int] | None, mode: str | None) -> np.ndarray:
    """The full image as uint8 [H, W, 1 or 3].

    Args:
      encoded: an image file's bytes, of any format that Pillow knows.
      size: (height, width); the image is resized to cover it, and center cropped. None keeps the
        image's own.
      mode: Pillow's "L" or "RGB"; None keeps gray images gray.

    Raises:
      BadImage: the image is damaged, or has more than 8 bits a channel.
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
    return to_array(cover(image, size))


def cover(image: "Image", size: tuple[int, int] | None) -> "Image":
    """Brings an image to (height, width): resized to cover it, center cropped; None: as it is."""
    from PIL import Image, ImageOps

    if size in (None, (image.height, image.width)):
        return image
    return ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)


def upright(image: "Image") -> "Image":
    """Turns an opened image as its EXIF orientation says, if it does. Raises `BadImage`."""
    from PIL import ImageOps

    try:
        is_turned = image.getexif().get(ORIENTATION) in range(2, 9)
        return ImageOps.exif_transpose(image) if is_turned else image
    except Exception as error:  # as above
        raise BadImage(errors.first_line(error)) from None


def to_array(image: "Image") -> np.ndarray:
    """An "RGB" or "L" image as uint8 [H, W, 3 or 1]."""
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


def from_array(pixels: np.ndarray) -> "Image":
    """The inverse of `to_array`."""
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
