"""Every usual kind of image file becomes RGB; what cannot is named, and never a bare traceback."""

import io
import struct
import sys
import types
import zlib

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data import decode
from cnn_jax.data.stream import views
from cnn_jax.errors import UserError

RAMP = np.linspace(0, 255, 32 * 24, dtype=np.uint8).reshape(24, 32)
RGB = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(encoded):
    return np.asarray(decode.to_rgb(decode.open_image(encoded)).convert("RGB")).astype(int)


IMAGE = Image.fromarray(RGB)
KINDS = {
    "rgb": (encode(IMAGE, "PNG"), RGB, 0),
    "gray": (encode(Image.fromarray(RAMP), "PNG"), RAMP[..., None], 0),
    "bilevel": (
        encode(Image.fromarray(RAMP > 99), "PNG"),
        255 * (RAMP > 99)[..., None].astype(int),
        0,
    ),
    "transparent": (encode(IMAGE.convert("RGBA"), "PNG"), RGB, 0),
    "gray, transparent": (encode(Image.fromarray(RAMP).convert("LA"), "PNG"), RAMP[..., None], 0),
    "16 bits": (
        encode(Image.fromarray(RAMP.astype(np.uint16) * 257), "PNG"),
        RAMP[..., None],
        0,
    ),
    "palette": (encode(IMAGE.quantize(256), "PNG"), RGB, 48),
    "palette, transparent": (
        encode(IMAGE.quantize(256), "PNG", transparency=bytes(range(256))),
        RGB,
        48,
    ),
    "cmyk": (encode(IMAGE.convert("CMYK"), "JPEG", quality=98), RGB, 24),
    "webp": (encode(IMAGE, "WEBP", lossless=True), RGB, 0),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_becomes_rgb(kind):
    encoded, expected, tolerance = KINDS[kind]
    pixels = decoded(encoded)
    assert pixels.shape == (24, 32, 3)
    assert np.abs(pixels - expected).max() <= tolerance


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_picture_counts(kind):
    gray = [Image.new("RGB", (8, 8), (shade,) * 3) for shade in (40, 200)]
    encoded = encode(gray[0], kind, save_all=True, append_images=gray[1:])
    assert np.abs(decoded(encoded) - 40).max() <= 1


def png_chunk(name, content):
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


JPEG = encode(IMAGE, "JPEG")
PNG = KINDS["rgb"][0]
BAD = {
    "empty": b"",
    "text": b"not an image at all\n" * 9,
    "truncated JPEG": JPEG[: len(JPEG) // 2],
    "JPEG's header only": JPEG[:30],
    "truncated PNG": PNG[: len(PNG) // 2],
    "PNG with broken data": PNG[:60] + b"\0" * 40 + PNG[100:],
    "PNG without data": PNG[:33] + png_chunk(b"IEND", b""),
    "32 bits": encode(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
}


@pytest.mark.parametrize("decoder", decode.DECODERS)
@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_decoded_says_why_in_one_line(kind, decoder):
    if decoder != "pillow":
        pytest.importorskip(decoder, reason="an optional decoder")
    view = views.create(
        kind="center", size=8, resize=8, frame="full",
        filters=("bilinear",), decoder=decoder, dct_scaling=False,
    )  # fmt: skip
    with pytest.raises(decode.BadImage) as caught:
        view(BAD[kind], np.random.default_rng(0))
    assert str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["rgb", "16 bits", "palette, transparent"])
def test_no_damaged_byte_of_a_png_is_decoded_silently(kind):
    encoded, rng = KINDS[kind][0], np.random.default_rng(0)
    expected = decode.full(encoded, None, "RGB")
    for _ in range(300):
        damaged = bytearray(encoded)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        with pytest.raises(decode.BadImage):
            assert (decode.full(bytes(damaged), None, "RGB") != expected).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_full_image_is_gray_where_its_header_says_so(kind, tmp_path):
    encoded, expected, tolerance = KINDS[kind]
    (tmp_path / "image").write_bytes(encoded)
    full = decode.full(encoded, None, None)
    assert full.shape[2] == (1 if decode.says_gray(tmp_path / "image") else 3)
    assert full.shape == (*RAMP.shape, 1 if expected.shape[2] == 1 else 3)
    assert np.abs(full.astype(int) - expected).max() <= tolerance


def test_a_format_that_starts_other_programs_is_no_image():
    eps = encode(IMAGE, "EPS")
    with pytest.raises(decode.BadImage, match="no image of the formats JPEG, PNG"):
        decode.full(eps, None, None)


def test_an_image_of_too_many_pixels_is_refused_unless_it_is_allowed(monkeypatch):
    header = struct.pack(">IIBBBBB", 2**13, 2**13 + 1, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((2**10 + 1) * (2**13 + 1)), 9)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    encoded = decode.PNG + b"".join(png_chunk(*chunk) for chunk in chunks)
    assert len(encoded) < 10_000
    with pytest.raises(decode.BadImage, match="67,108,864; CNN_JAX_MAX_PIXELS=NUMBER allows more"):
        decode.full(encoded, (8, 8), None)
    monkeypatch.setenv("CNN_JAX_MAX_PIXELS", str(10**8))
    assert decode.full(encoded, (8, 8), None).shape == (8, 8, 1)
    monkeypatch.setenv("CNN_JAX_MAX_PIXELS", "many")
    with pytest.raises(UserError, match="CNN_JAX_MAX_PIXELS is 'many': it is a number"):
        decode.full(encoded, (8, 8), None)


def test_a_decoder_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(decode.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install simplejpeg"):
        decode.check("simplejpeg")


@pytest.mark.parametrize("orientation", [None, *range(10)])
def test_an_image_is_turned_where_its_orientation_is_one_of_two_to_eight(orientation):
    exif = Image.Exif()
    if orientation is not None:
        exif[decode.ORIENTATION] = orientation
    image = decode.open_image(encode(IMAGE, "JPEG", exif=exif))
    turned = decode.upright(image)
    is_turned = orientation in (2, 3, 4, 5, 6, 7, 8)
    assert (turned is not image) == is_turned
    assert turned.size == (IMAGE.size if orientation not in (5, 6, 7, 8) else IMAGE.size[::-1])


@pytest.mark.parametrize("pixels", [RGB, RAMP[..., None]])
def test_an_array_comes_back_from_its_image(pixels):
    image = decode.from_array(pixels)
    assert image.mode == ("RGB" if pixels.shape[2] == 3 else "L")
    assert (decode.to_array(image) == pixels).all()


@pytest.mark.parametrize(
    "kind,mode,is_decoded",
    [("JPEG", "RGB", True), ("JPEG", "L", True), ("JPEG", "CMYK", False), ("PNG", "RGB", False)],
)
def test_simplejpeg_is_given_rgb_and_gray_jpegs_alone(kind, mode, is_decoded, monkeypatch):
    asked = []
    fake = types.SimpleNamespace(decode_jpeg=lambda encoded: asked.append(encoded) or "pixels")
    monkeypatch.setitem(sys.modules, "simplejpeg", fake)
    encoded = encode(IMAGE.convert(mode), kind)
    found = decode.decode_jpeg(encoded, decode.open_image(encoded))
    assert (found, asked) == (("pixels", [encoded]) if is_decoded else (None, []))


def test_pillow_takes_jpegs_that_simplejpeg_refuses(monkeypatch):
    def refuse(encoded):
        raise ValueError

    monkeypatch.setitem(sys.modules, "simplejpeg", types.SimpleNamespace(decode_jpeg=refuse))
    encoded = encode(IMAGE, "JPEG")
    assert decode.decode_jpeg(encoded, decode.open_image(encoded)) is None
