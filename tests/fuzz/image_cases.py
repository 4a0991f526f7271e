"""Image files of every format that is decoded."""

import functools
import struct
import zlib

import numpy as np
from PIL import Image

from cnn_jax.data import decode
from cnn_jax.data.stream import views
from tests.fuzz.fuzzing import Case

CENTER = {"kind": "center", "size": 8, "resize": 8, "frame": "full", "filters": ("bilinear",)}
VIEWS = [views.create(**CENTER, decoder="pillow", dct_scaling=scaling) for scaling in (False, True)]


def write(folder, seed, kind="RGB", **options):
    """One image of 24 x 32 pixels, different in every row."""
    ramp = np.linspace(0, 255 - seed, 32 * 24, dtype=np.uint8).reshape(24, 32)
    image = Image.fromarray(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], -1))
    if kind == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 257)
    elif kind == "P":
        image = image.quantize(256)
    elif kind != "RGB":
        image = image.convert(kind)
    if options.get("save_all"):
        options["append_images"] = [image.transpose(Image.Transpose.ROTATE_180)]
    image.save(folder / "image", **options)


def read(folder):
    """The full image, as it is and resized, and views of it."""
    encoded = (folder / "image").read_bytes()
    found = [decode.full(encoded, None, None), decode.full(encoded, (8, 8), "RGB")]
    decode.says_gray(folder / "image")
    upright = decode.to_rgb(decode.upright(decode.open_image(encoded)))
    return [
        *found,
        decode.to_array(upright),
        *(v(encoded, np.random.default_rng(0)) for v in VIEWS),
    ]


def with_checksums(damaged: bytes, content: bytes) -> bytes:
    """A PNG file whose checksums fit what its chunks have, as far as there are chunks."""
    del content
    at, changed = 8, bytearray(damaged)
    while at + 12 <= len(changed):
        end = at + 8 + struct.unpack_from(">I", changed, at)[0]
        if end + 4 > len(changed):
            break
        struct.pack_into(">I", changed, end, zlib.crc32(changed[at + 4 : end]))
        at = end + 4
    return bytes(changed)


def case(name, checksum=False, inside=None, **options):
    make = functools.partial(write, **options)
    return Case(name, make, read, checksum=checksum, errors=(decode.BadImage,), inside=inside)


TURNED = Image.Exif()
TURNED[decode.ORIENTATION] = 6
TIFF = {"format": "TIFF"}
CASES = (
    case("JPEG", format="JPEG"),
    case("JPEG, progressive", format="JPEG", progressive=True),
    case("JPEG, CMYK", format="JPEG", kind="CMYK"),
    case("JPEG, turned", format="JPEG", exif=TURNED),
    case("PNG", format="PNG", checksum=True),
    case("PNG, gray", format="PNG", kind="L", checksum=True),
    case("PNG, 16 bits", format="PNG", kind="I;16", checksum=True),
    case("PNG, palette", format="PNG", kind="P", transparency=bytes(range(256)), checksum=True),
    case("PNG, animated", format="PNG", save_all=True, checksum=True),
    case("PNG, checksums made to fit", format="PNG", inside=(bytes, with_checksums)),
    case("WebP", format="WEBP", lossless=False),
    case("WebP, lossless", format="WEBP", lossless=True),
    case("GIF", format="GIF", kind="P"),
    case("GIF, animated", format="GIF", kind="P", save_all=True),
    case("BMP", format="BMP"),
    case("PPM", format="PPM"),
    case("TIFF", **TIFF),
    case("TIFF, 16 bits", kind="I;16", **TIFF),
    case("TIFF, LZW", compression="tiff_lzw", **TIFF),
    case("TIFF, deflate", compression="tiff_adobe_deflate", **TIFF),
)
