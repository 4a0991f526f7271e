"""The part of an image that the network sees: encoded bytes -> uint8 [size, size, 3], on the host.

Each of the papers' views is a window in the coordinates of the image, which is resized to the
output in one step. The pixels are those of resizing the full image and then cropping (within one
level of 255), but only the window is computed. A window is a pure function of a random generator
and the image's size.

  scale_crop    VGG (Simonyan and Zisserman, 2015, 3.1), ResNet (He et al., 2016, 3.4): the shorter
                side becomes a random value of [256, 480], then a random crop is taken. With frame
                "center" it is a crop of the central square, as for AlexNet (2012, 2); with "squash"
                width and height both become 256, as in Caffe.
  area_aspect   GoogLeNet (Szegedy et al., 2015, 6): a box of 8-100 % of the area, of an aspect
                ratio between 3/4 and 4/3, drawn as in fb.resnet.torch. Inception's code: 5-100 %.
  area_square   the same box with the square of the ratio, between 9/16 and 16/9: what
                fb.resnet.torch drew before 2016-02-19, for its published ResNet-18 to -101.
  center        the shorter side (or, with frame "squash", both) becomes `resize`; the central crop.
  full          the full image, as it is or resized: for small images.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cnn_jax import errors
from cnn_jax.data import decode

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the image
Window = Callable[[np.random.Generator, int, int], Box]
View = Callable[[bytes, np.random.Generator], np.ndarray]

# Pillow's numbers of them, `Image.Resampling`. Where the image shrinks, all but "nearest" average
# over the pixels that fall into one ("box" with equal weights).
FILTERS = {"nearest": 0, "box": 4, "bilinear": 2, "bicubic": 3, "lanczos": 1}
FRAMES = ("full", "center", "squash")
ATTEMPTS = 10


def create(*, kind: str, decoder: str, **options) -> View:
    """A view `(encoded, rng) -> uint8 [size, size, 3]`.

    Args:
      decoder: "pillow", or "simplejpeg": the same pixels, faster.
      kind: "scale_crop" with the options `shorter_side` (least, greatest) in pixels and `frame`;
        "area_aspect" with `area` and `aspect`, (least, greatest) each, areas as fractions of the
        image, and "area_square" with the same; "center" with `resize`, in pixels, and `frame`.

    Options of all kinds:
      size: side of the output, in pixels.
      filters: names of `FILTERS`; of several, one is drawn per image, as Inception's code does.
      dct_scaling: JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where the window still has
        `size` pixels a side. Faster for large images; the pixels differ slightly.

    Raises:
      UserError: an unknown name, an option too many or too few, a range that cannot be.
    """
    if kind not in WINDOWS:
        raise errors.unknown("view.kind", kind, WINDOWS)
    window, check = WINDOWS[kind]
    takes = [*inspect.signature(check).parameters, "filters", "dct_scaling"]
    for name in options:
        if name not in takes:
            raise errors.unknown(f"option of the view {kind}", name, takes)
    if missing := [name for name in takes if name not in options]:
        raise errors.UserError(f"the view {kind} lacks its option {missing[0]!r}", 2)
    filters, dct_scaling = options.pop("filters"), options.pop("dct_scaling")
    for name in filters or ("",):
        if name not in FILTERS:
            raise errors.unknown("filter in view.filters", name, FILTERS)
    decode.check(decoder)
    if options["size"] < 1:
        raise errors.UserError(f"view.size is {options['size']}: a number of pixels, 1 or more")
    check(**options)
    return functools.partial(
        render,
        window=functools.partial(window, **options),
        size=options["size"],
        filters=tuple(FILTERS[name] for name in filters),
        decoder=decoder,
        dct_scaling=dct_scaling,
    )


def check_scale_crop(size: int, shorter_side: tuple[int, int], frame: str) -> None:
    """Raises `UserError` for an unknown frame, or where the crop does not fit."""
    if frame not in FRAMES:
        raise errors.unknown("view.frame", frame, FRAMES)
    low, high = shorter_side
    if not size <= low <= high:
        raise errors.UserError(
            f"view.shorter_side is {tuple(shorter_side)}: (least, greatest), and not less than "
            f"view.size = {size}"
        )


def check_center(size: int, resize: int, frame: str) -> None:
    """Raises `UserError` for an unknown frame, or where the crop does not fit."""
    if frame not in ("full", "squash"):
        raise errors.unknown("view.frame", frame, ("full", "squash"))
    if resize < size:
        raise errors.UserError(f"view.resize is {resize}, less than view.size = {size}")


def check_area_aspect(size: int, area: tuple[float, float], aspect: tuple[float, float]) -> None:
    """Raises `UserError` for ranges that cannot be."""
    del size
    if not 0 < area[0] <= area[1] <= 1:
        raise errors.UserError(
            f"view.area is {tuple(area)}: (least, greatest) fraction of the image, in (0, 1]"
        )
    if not 0 < aspect[0] <= aspect[1]:
        raise errors.UserError(f"view.aspect is {tuple(aspect)}: (least, greatest) width / height")


def resized(width: int, height: int, shorter: int, squash: bool) -> tuple[int, int]:
    """Width and height after the shorter side, or with `squash` both, became `shorter`."""
    if squash:
        return shorter, shorter
    least = min(width, height)
    return shorter * width // least, shorter * height // least


def scale_crop(
    rng: np.random.Generator,
    width: int,
    height: int,
    *,
    size: int,
    shorter_side: tuple[int, int],
    frame: str,
) -> Box:
    """A random crop of `size` after the shorter side became a random value of `shorter_side`."""
    shorter = int(rng.integers(shorter_side[0], shorter_side[1] + 1))
    new = resized(width, height, shorter, frame == "squash")
    inside = (shorter, shorter) if frame == "center" else new
    left, top = (
        (whole - part) // 2 + int(rng.integers(part - size + 1))
        for whole, part in zip(new, inside, strict=True)
    )
    return in_image((left, top, left + size, top + size), new, (width, height))


def center(
    rng: np.random.Generator, width: int, height: int, *, size: int, resize: int, frame: str
) -> Box:
    """The central crop of `size` after the shorter side, or with "squash" both, became `resize`."""
    del rng
    new = resized(width, height, resize, frame == "squash")
    left, top = ((side - size) // 2 for side in new)
    return in_image((left, top, left + size, top + size), new, (width, height))


def in_image(box: Box, resized: tuple[int, int], image: tuple[int, int]) -> Box:
    """A box of the resized image in the coordinates of the image itself."""
    x, y = image[0] / resized[0], image[1] / resized[1]
    left, top, right, bottom = box
    # Rounding must not lead out of the image, which Pillow refuses.
    return left * x, top * y, min(right * x, image[0]), min(bottom * y, image[1])


def area_aspect(
    rng: np.random.Generator,
    width: int,
    height: int,
    *,
    size: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    power: int = 1,
) -> Box:
    """A box of random area and aspect ratio; after ten that do not fit, the central square.

    `power`: of the drawn ratio, that of the box.
    """
    del size
    for _ in range(ATTEMPTS):
        fraction, ratio, swap = rng.uniform(*area), rng.uniform(*aspect), rng.random() < 0.5
        ratio **= power
        sides = [math.sqrt(fraction * width * height * r) for r in (ratio, 1 / ratio)]
        wide, high = (max(1, round(side)) for side in (sides[::-1] if swap else sides))
        if wide <= width and high <= height:
            left, top = (int(rng.integers(n + 1)) for n in (width - wide, height - high))
            return left, top, left + wide, top + high
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


WINDOWS = {
    "area_aspect": (area_aspect, check_area_aspect),
    "area_square": (functools.partial(area_aspect, power=2), check_area_aspect),
    "center": (center, check_center),
    "scale_crop": (scale_crop, check_scale_crop),
}


def render(
    encoded: bytes,
    rng: np.random.Generator,
    *,
    window: Window,
    size: int,
    filters: tuple[int, ...],
    decoder: str,
    dct_scaling: bool,
) -> np.ndarray:
    """The window of one image, uint8 [size, size, 3]. Raises `decode.BadImage`."""
    from PIL import Image

    image = decode.open_image(encoded)
    box = window(rng, *image.size)
    chosen = filters[int(rng.integers(len(filters)))] if len(filters) > 1 else filters[0]
    stored = image.size
    if dct_scaling:
        box = shrunk(image, box, size)
    region, box = surroundings(box, size, image.size)
    pixels = None
    if decoder == "simplejpeg" and image.size == stored:
        pixels = decode.decode_jpeg(encoded, image)
    if pixels is None:
        piece = decode.to_rgb(image).crop(region)
    else:
        left, top, right, bottom = region
        piece = Image.fromarray(pixels[top:bottom, left:right])
    view = piece.resize((size, size), chosen, box=box)
    return np.asarray(view if view.mode == "RGB" else view.convert("RGB"))


def shrunk(image: "Image", box: Box, size: int) -> Box:
    """Has a JPEG decoded at the fraction of `dct_factor`, of which it returns the box."""
    factor = dct_factor(box, size) if image.format == "JPEG" else 1
    width, height = image.size
    if factor > 1:
        image.draft(image.mode, (width // factor, height // factor))
    return in_image(box, (width, height), image.size) if factor > 1 else box


def dct_factor(box: Box, size: int) -> int:
    """The most, 1, 2, 4 or 8, by which a JPEG shrinks while its window has `size` pixels a side."""
    least = min(box[2] - box[0], box[3] - box[1])
    return next((factor for factor in (8, 4, 2) if least >= factor * size), 1)


def surroundings(
    box: Box, size: int, image: tuple[int, int]
) -> tuple[tuple[int, int, int, int], Box]:
    """The region of the image that resizing the box reads, and the box in its coordinates."""
    left, top, right, bottom = box
    # Lanczos reads the furthest: three pixels of the coarser of the two grids.
    x, y = (3 * max(1, side / size) + 2 for side in (right - left, bottom - top))
    first_x, first_y = max(0, int(left - x)), max(0, int(top - y))
    region = (first_x, first_y, min(image[0], int(right + x)), min(image[1], int(bottom + y)))
    return region, (left - first_x, top - first_y, right - first_x, bottom - first_y)


def full(
    encoded: bytes, rng: np.random.Generator, *, size: tuple[int, int] | None, mode: str
) -> np.ndarray:
    """The full image, see `decode.full`."""
    del rng
    return decode.full(encoded, size, mode)


def raw(encoded: bytes, rng: np.random.Generator, *, size: int) -> np.ndarray:
    """The view of fake data, whose bytes are its pixels: uint8 [size, size, 3]."""
    del rng
    return np.frombuffer(encoded, np.uint8).reshape(size, size, 3)
