"""From an encoded image to pixels: every usual kind of file becomes 8-bit RGB, or gray.

Palette, CMYK and 16-bit images do too (of 16 bits the high byte is kept, as by TensorFlow;
transparency is dropped). Of an animation the first picture is taken. The orientation in EXIF is
ignored, as in the papers' pipelines; `upright` is for photos that people bring. Pillow is the
reference; simplejpeg, which is installed separately, decodes JPEGs to the same pixels faster, and
Pillow takes those that it refuses.
"""

import importlib.util
import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from cnn_jax import errors
from cnn_jax.data import packed

if TYPE_CHECKING:
    from PIL.Image import Image

DECODERS = ("pillow", "simplejpeg")
# Pillow knows more, some of which start other programs: EPS starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF")
PIXELS = 2**26  # that an image may have; ImageNet's largest has 61 million
PNG = b"\x89PNG\r\n\x1a\n"
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
    if not encoded:
        raise BadImage("it is empty")
    if encoded.startswith(PNG):
        check_png(encoded)
    return read_header(io.BytesIO(encoded))


def check_png(encoded: bytes) -> None:
    """Compares the checksum of each chunk; Pillow leaves out those of the pixels' chunks.

    Raises `BadImage` for another one, or a file that was cut off.
    """
    content, at, kind = memoryview(encoded), len(PNG), b""
    try:
        while kind != b"IEND":
            length, kind = struct.unpack_from(">I4s", encoded, at)
            end = at + 8 + length
            (checksum,) = struct.unpack_from(">I", encoded, end)
            if zlib.crc32(content[at + 4 : end]) != checksum:
                raise BadImage(f"the checksum of its chunk {kind!r} is another")
            at = end + 4
    except struct.error:
        raise BadImage("it is cut off") from None


def read_header(file: BinaryIO | Path) -> "Image":
    """Opens an image file, see `open_image`."""
    from PIL import Image

    try:
        image = Image.open(file, formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise BadImage(f"it is no image of the formats {', '.join(FORMATS)}") from None
    except Exception as error:  # Pillow's readers of damaged headers raise almost anything
        raise BadImage(errors.first_line(error)) from None
    width, height = image.size
    if not 0 < width * height <= (most := packed.limit("CNN_JAX_MAX_PIXELS", PIXELS)):
        raise BadImage(
            f"it has {width:,} x {height:,} pixels, and not between 1 and {most:,}; "
            "CNN_JAX_MAX_PIXELS=NUMBER allows more"
        )
    return image


def is_gray(image: "Image") -> bool:
    """Whether `to_rgb` gives the mode "L"."""
    return image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")


def says_gray(file: Path) -> bool | None:
    """Whether the header of a file is that of a gray image; None where it has no such header."""
    try:
        with read_header(file) as image:
            return is_gray(image)
    except BadImage:
        return None


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
        return image.convert("L" if is_gray(image) else "RGB")
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
      encoded: an image file's bytes, of one of the `FORMATS`.
      size: (height, width); the image is resized to cover it, and center cropped. None keeps the
        image's own.
      mode: Pillow's "L" or "RGB"; None keeps gray images gray.

    Raises:
      BadImage: the image is damaged, has 32 bits a channel, or too many pixels.
    """
    with open_image(encoded) as opened:
        image = to_rgb(opened)
    return to_array(cover(image.convert(mode) if mode else image, size))


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

    return Image.fromarray(np.squeeze(pixels, -1) if pixels.shape[-1] == 1 else pixels)
